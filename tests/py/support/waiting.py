"""Waiting for what only the file system tells."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import watchfiles

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def wait_until(condition: Callable[[], bool], directory: Path, *, timeout: float = 10.0) -> None:
    """Wait until the condition holds, asking again at each change below the directory (inotify)."""
    give_up = threading.Event()
    timer = threading.Timer(timeout, give_up.set)
    timer.start()
    try:
        # The first look comes after the watch is up, by the empty change set of `yield_on_timeout`.
        for _ in watchfiles.watch(
            directory,
            stop_event=give_up,
            watch_filter=None,
            step=1,
            debounce=1,
            rust_timeout=100,
            yield_on_timeout=True,
        ):
            if condition():
                return
    finally:
        timer.cancel()
    raise AssertionError(f"not within {timeout} s: {condition}")
