"""The stamps of one row, in memory shared by sender, receiver and conductor (cpp/ledger.hpp)."""

from __future__ import annotations

import mmap
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

CAPACITY = 8192
HEADER_WORDS = 8
RECORD_WORDS = 4
SIZE = 8 * (HEADER_WORDS + RECORD_WORDS * CAPACITY)


def now_ns() -> int:
    """CLOCK_BOOTTIME in ns, the clock of every stamp."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Sample:
    """One message. Stamps in CLOCK_BOOTTIME ns; 0 is "not stamped"."""

    sent: int
    received: int
    entered: int
    seen_after: int  # ns from `received` until an observing thread had the token


class Ledger:
    """A view of the file; every process maps the same one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("r+b") as file:
            self._words = memoryview(mmap.mmap(file.fileno(), SIZE)).cast("q")

    @classmethod
    def create(cls, path: Path) -> Ledger:
        path.write_bytes(bytes(SIZE))
        return cls(path)

    def begin(self, index: int) -> None:
        """Sender: the next message is number `index`; its sending starts when this returns."""
        base = HEADER_WORDS + RECORD_WORDS * index
        words = self._words
        words[base + 1] = words[base + 2] = words[base + 3] = 0
        words[0] = index
        words[base] = now_ns()

    def stamp(self, received: int, entered: int) -> None:
        """Receiver: take `entered` first thing in the callback, then call this."""
        words = self._words
        base = HEADER_WORDS + RECORD_WORDS * words[0]
        words[base + 1] = received
        words[base + 2] = entered

    def samples(self, first: int, count: int) -> list[Sample]:
        """Conductor: the records `first` to `count - 1` of a finished block."""
        words = self._words
        return [
            Sample(*words[base : base + RECORD_WORDS])
            for base in (HEADER_WORDS + RECORD_WORDS * i for i in range(first, count))
        ]
