"""How the demo's processes tell the parent what happens: a JSON object a line."""

from __future__ import annotations

import json
import os
import select
import sys
import time
from typing import Any


def report(event: str, **fields: Any) -> None:
    """Tell the parent, in one write(2): lines of several threads stay whole up to PIPE_BUF."""
    os.write(1, json.dumps({"event": event, **fields}).encode() + b"\n")


def boot_ns() -> int:
    """CLOCK_BOOTTIME in ns: the same clock in every process, and a received token's."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def wait_for_parent(seconds: float) -> bool:
    """Wait; True at once when the parent has closed our input, or is gone: then end."""
    readable, _, _ = select.select([sys.stdin], [], [], max(0.0, seconds))
    return bool(readable)
