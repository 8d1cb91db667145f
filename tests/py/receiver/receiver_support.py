"""What the receiver's tests share: a sender of raw frames, and the kernel's view of a process."""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from support.raw_sender import FAR_FUTURE, PATIENCE, Sender, deliver

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "FAR_FUTURE",
    "PATIENCE",
    "Sender",
    "deliver",
    "eventually",
    "open_descriptors",
    "open_eventfds",
    "receiver_threads",
    "run_python",
]


def eventually(condition: Callable[[], bool]) -> None:
    """Wait for what only /proc tells, and no event."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def open_eventfds() -> int:
    gc.collect()  # receivers of earlier tests
    names = []
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile by another thread
            names.append(str(link.readlink()))
    return names.count("anon_inode:[eventfd]")


def receiver_threads() -> list[int]:
    """Ids of this process's native receiver threads."""
    threads = []
    for task in Path("/proc/self/task").iterdir():
        try:
            name = (task / "comm").read_text()
        except FileNotFoundError:
            continue  # it has just ended
        if name == "tokenrelay\n":
            threads.append(int(task.name))
    return threads


def run_python(
    code: str, *arguments: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, with this directory to import from."""
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**(environment or os.environ), "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
