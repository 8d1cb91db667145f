"""What the receiver's tests share: a sender of raw frames, and the kernel's view of a process."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tokenrelay import TokenReceiver

FAR_FUTURE = 4_102_444_800  # 2100
PATIENCE = 20.0  # s until a test gives up on an event that must come


class Sender:
    """One connection to a receiver."""

    def __init__(self, receiver: TokenReceiver | str) -> None:
        path = receiver if isinstance(receiver, str) else receiver.path
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE)
        self._socket.connect(path)
        self._lines = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._socket.close()

    def send(self, access_token: str, **fields: Any) -> dict[str, Any]:
        """Deliver a token and return the answer."""
        self.send_line(
            json.dumps({"expires_at": FAR_FUTURE, "access_token": access_token} | fields)
        )
        return self.next_line()

    def send_line(self, text: str) -> None:
        self._socket.sendall(text.encode() + b"\n")

    def next_line(self) -> dict[str, Any]:
        line: dict[str, Any] = json.loads(self._lines.readline())
        return line

    def at_end(self) -> bool:
        return self._lines.readline() == b""


def eventually(condition: Callable[[], bool]) -> None:
    """Wait for what only /proc tells, and no event."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def deliver(receiver: TokenReceiver | str, access_token: str, **fields: Any) -> dict[str, Any]:
    """Connect, deliver one token, return the answer."""
    with Sender(receiver) as sender:
        return sender.send(access_token, **fields)


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
