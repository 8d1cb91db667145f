"""A row: a receiving process, and blocks of frames sent to it while every other row is frozen."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tokenrelay import _core
from tokenrelay.sender.tokens import TokenSet
from tokenrelay.sender.wire import encode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

TOKEN_BYTES = 1270  # with the rest of the frame 1.5 KB, as large as a JWT gets in practice
NEVER = 4_102_444_800  # 2100-01-01, Unix seconds
CAPACITY = 100_000  # frames of one row
STARTUP_SECONDS = 30.0
WARM_UP = 20  # frames after a thaw that are not counted


@dataclass(frozen=True, slots=True)
class Sample:
    """One frame, CLOCK_BOOTTIME ns.

    ``native``: in rows that enter something behind the native callback, when that was entered.
    ``answered``: in a floor, when the answer was sent.
    """

    sent: int
    received: int
    entered: int
    native: int | None = None
    answered: int | None = None


def make_frame() -> tuple[bytes, int]:
    """A frame as the sender encodes it, and its serial, with whose digits the token begins.

    Serials are microseconds: no frame is sent in less, so the next call's is above all sent so far.
    """
    serial = time.time_ns() // 1000
    token = TokenSet(
        access_token=str(serial).ljust(TOKEN_BYTES, "k"),
        expires_at=NEVER,
        serial=serial,
        scope="s" * 120,
    )
    return encode(token, account="bench"), serial


@contextlib.contextmanager
def pinned(processors: set[int]) -> Iterator[None]:
    """This thread on these processors only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processors)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Row:
    """Starts frozen. Use it in a with statement."""

    def __init__(self, kind: str, directory: Path, *, sender: set[int], receiver: set[int]) -> None:
        self.kind = kind
        self._spin = kind.endswith("-spin")  # both ends, see _send
        self._sender = sender
        self._receiver = receiver
        self._path = str(directory / f"{kind}.sock")
        self._blocks: list[tuple[str, int, int]] = []  # gap, first counted frame, end
        self._sent: list[int] = []
        self._connection = socket.socket(socket.AF_UNIX)

    def __enter__(self) -> Self:
        acknowledged = ack = -1
        if self.kind.startswith(("python", "follow-up")):
            acknowledged, ack = os.pipe()
        self._acknowledged = acknowledged
        command = [sys.executable, "-m", f"{__package__}.receive"]
        command += [self.kind, self._path, str(CAPACITY), str(ack)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=() if ack < 0 else (ack,),
        )
        if ack >= 0:
            os.close(ack)
        return self

    def ready(self) -> None:
        """Wait for the process, connect, and freeze it."""
        output = self._process.stdout
        if output is None or output.readline() != b"ready\n":
            raise RuntimeError(f"the receiving process of {self.kind} did not start")
        self._connection.connect(self._path)
        for thread in Path(f"/proc/{self._process.pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), self._receiver)
        self._process.send_signal(signal.SIGSTOP)

    def block(self, gap: str, gap_ns: int, count: int, *, warm_up: int = WARM_UP) -> None:
        """Thaw, send ``count`` frames that count, freeze."""
        self._process.send_signal(signal.SIGCONT)
        with pinned(self._sender):
            self._send(warm_up, 0)
            begin = len(self._sent)
            self._send(count, gap_ns)
        self._process.send_signal(signal.SIGSTOP)
        self._blocks.append((gap, begin, len(self._sent)))

    def _send(self, count: int, gap_ns: int) -> None:
        # Beside a receiver that spins the sender does too: one that slept comes back at several
        # speeds, by how deeply its processor did, and that would stand in the receiver's figures.
        frame, serial = make_frame()
        fd = self._connection.fileno()
        self._sent += _core._send_frames(
            fd, frame, serial, count, gap_ns, self._acknowledged, self._spin
        )

    def samples(self) -> dict[str, list[Sample]]:
        """End the process; what it stamped, by gap."""
        self._process.send_signal(signal.SIGCONT)
        self._connection.close()
        output, _ = self._process.communicate(timeout=STARTUP_SECONDS)
        stamps = array("q", output)
        size = len(self._sent)
        columns = [stamps[at : at + size] for at in range(0, len(stamps), size)]
        if len(stamps) % size or len(columns) < 2:
            raise RuntimeError(f"{self.kind}: {len(stamps)} stamps for {size} frames")
        third = "answered" if self.kind.startswith("floor") else "native"
        names = ("received", "entered", third)
        found: dict[str, list[Sample]] = {}
        for gap, begin, end in self._blocks:
            rows = zip(*(column[begin:end] for column in columns), strict=True)
            found.setdefault(gap, []).extend(
                Sample(sent, **dict(zip(names, row, strict=False)))
                for sent, row in zip(self._sent[begin:end], rows, strict=True)
            )
        return found

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()
        self._connection.close()
        if self._acknowledged >= 0:
            os.close(self._acknowledged)
