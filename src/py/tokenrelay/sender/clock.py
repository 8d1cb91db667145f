"""Time as the sender sees it; injected everywhere, so that tests own it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Protocol

Sleep = Callable[[float], Awaitable[None]]


class Clock(Protocol):
    """Two clocks: one that agrees with other hosts, one that nobody can set."""

    def wall(self) -> float:
        """Unix seconds; may jump."""

    def boot(self) -> float:
        """Seconds since boot, suspend included; never jumps (CLOCK_BOOTTIME, time(7))."""


class SystemClock:
    """The clocks of the machine."""

    def wall(self) -> float:
        return time.time()

    def boot(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)
