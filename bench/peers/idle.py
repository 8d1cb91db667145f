"""What the main thread of a Python receiver does meanwhile."""

from __future__ import annotations

import threading


def stay(*, busy: bool) -> None:
    """Sleeps for ever, or burns bytecode for ever, as a strategy that computes would."""
    if not busy:
        threading.Event().wait()
    count = 0
    while True:
        count += 1
