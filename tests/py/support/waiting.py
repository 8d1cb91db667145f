"""Waiting for what only the file system tells."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

import watchfiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def wait_until(condition: Callable[[], bool], directory: Path, *, timeout: float = 10.0) -> None:
    """Wait until the condition holds, asking again at each change below the directory (inotify)."""
    give_up = threading.Event()
    timer = threading.Timer(timeout, give_up.set)
    timer.start()
    try:
        # The first look comes after the watch is up, by the empty change set of `yield_on_timeout`.
        for _ in _changes(directory, give_up):
            if condition():
                return
    finally:
        timer.cancel()
    raise AssertionError(f"not within {timeout} s: {condition}")


def _changes(directory: Path, give_up: threading.Event) -> Iterator[object]:
    watch = partial(
        watchfiles.watch,
        directory,
        stop_event=give_up,
        watch_filter=None,
        step=1,
        debounce=1,
        rust_timeout=100,
        yield_on_timeout=True,
    )
    try:
        yield from watch()
    except RuntimeError:  # Another program has taken the user's 128 inotify descriptors.
        yield from watch(force_polling=True, poll_delay_ms=20)
