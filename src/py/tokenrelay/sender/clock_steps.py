"""The moments at which the clocks jump: the wall clock is set, the machine wakes from a suspend.

A timer that is cancelled when the wall clock is set, timerfd_create(2), becomes readable at both;
the sleeps of an event loop run on a clock that notices neither. Called through ctypes: Python has
`os.timerfd_create` only from 3.13.
"""

from __future__ import annotations

import ctypes
import os
import time
from contextlib import suppress
from typing import Self

import anyio

from tokenrelay.sender.libc import check, libc

_ABSOLUTE, _CANCEL_ON_SET = 1, 2
_NEVER = 2**40  # Unix seconds: only a jump ends the timer


class _Spec(ctypes.Structure):
    """struct itimerspec: interval and first expiry, each in seconds and nanoseconds."""

    _fields_ = (("times", ctypes.c_long * 4),)


class ClockSteps:
    """Tells each jump since it was made, also one that nobody waited for. One task may wait.

    OSError where the kernel has no such timer. Use as a context.
    """

    def __init__(self) -> None:
        self._descriptor = check(
            libc.timerfd_create(time.CLOCK_REALTIME, os.O_NONBLOCK | os.O_CLOEXEC)
        )
        try:
            self._arm()
        except OSError:
            os.close(self._descriptor)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    async def wait(self) -> None:
        """Return once the clocks have jumped since the last return; some jumps may be one."""
        await anyio.wait_readable(self._descriptor)
        with suppress(OSError):  # ECANCELED: this is how the timer tells it
            os.read(self._descriptor, 8)
        self._arm()

    def _arm(self) -> None:
        spec = _Spec((0, 0, _NEVER, 0))
        flags = _ABSOLUTE | _CANCEL_ON_SET
        check(libc.timerfd_settime(self._descriptor, flags, ctypes.byref(spec), None))
