"""The sender's side of a block, for the peers that have no C sender (cpp/pacing.hpp)."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING

from lab.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FRAME_SIZE = 1500
TOKEN_SIZE = 1270


def frames() -> Iterator[bytes]:
    """The C sender's message: 1500 bytes, each with a new token and a higher serial."""
    serial = time.time_ns() // 1000
    while True:
        serial += 1
        fields = {
            "access_token": f"{serial:016d}".ljust(TOKEN_SIZE, "k"),
            "token_type": "Bearer",
            "expires_at": 4102444800,
            "serial": serial,
            "scope": "",
            "account": "bench",
        }
        size = len(json.dumps(fields, separators=(",", ":"))) + 1
        fields["scope"] = "s" * (FRAME_SIZE - size)
        yield json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def serve_blocks(ledger_path: Path, acknowledgements: int, send: Callable[[bytes], None]) -> None:
    """Obeys "block COUNT GAP_NS" lines; each message waits for the receiver's byte."""
    ledger = Ledger(ledger_path)
    source = frames()
    print("ready", flush=True)
    for line in sys.stdin:
        _, count, gap = line.split()
        for index in range(int(count)):
            frame = next(source)
            if gap != "0":
                time.sleep(int(gap) / 1e9)  # the idle time whose effect is measured
            ledger.begin(index)
            send(frame)
            os.read(acknowledgements, 1)
        print("done", flush=True)


class Acknowledger:
    """The callback of a Python receiver: stamps the ledger, then tells the sender."""

    def __init__(self, ledger_path: Path, descriptor: int) -> None:
        self._ledger = Ledger(ledger_path)
        self._descriptor = descriptor

    def __call__(self, received: int, entered: int) -> None:
        self._ledger.stamp(received, entered)
        if self._descriptor >= 0:
            os.write(self._descriptor, b"x")
