"""Calls of the C library that Python does not offer."""

from __future__ import annotations

import ctypes
import os

libc: ctypes.CDLL = ctypes.CDLL(None, use_errno=True)


def check(result: int) -> int:
    """Return the ``result`` of a call, or raise its error as OSError."""
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
