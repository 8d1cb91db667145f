"""A listener that speaks the receiver's side of the wire badly or well, as a test asks.

As a program it prints one JSON line for each connection and frame; `--uid` drops to that user.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

Answer = Callable[[dict[str, Any]], bytes | None]


def line(**reply: object) -> bytes:
    return json.dumps(reply).encode() + b"\n"


def accept(frame: dict[str, Any]) -> bytes:
    return line(ok=True, generation=1)


def ignore(frame: dict[str, Any]) -> None:
    return None


def socket_name(program: str = "trader", pid: int | None = None) -> str:
    return f"{program}-{pid or os.getpid()}-{secrets.token_hex(4)}.sock"


class Listener:
    """Listens at `path` in threads; `frames` and `connections` are queues of what arrived."""

    def __init__(self, path: Path, answer: Answer = accept, *, backlog: int = 16) -> None:
        self.path = path
        self.answer = answer
        self.frames: queue.Queue[dict[str, Any]] = queue.Queue()
        self.lines: queue.Queue[dict[str, Any]] = queue.Queue()
        self.connections: queue.Queue[socket.socket] = queue.Queue()
        self._open: list[socket.socket] = []
        self._socket = socket.socket(socket.AF_UNIX)
        hidden = path.with_name("." + path.name)
        self._socket.bind(str(hidden))
        self._socket.listen(backlog)
        hidden.rename(path)
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """End as a killed program does: connections closed, the socket file left behind."""
        _shut_down(self._socket)
        self._accepting.join()
        self._socket.close()
        for connection in self._open:
            _shut_down(connection)
        for reading in self._threads:
            reading.join()
        for connection in self._open:
            connection.close()

    def next_frame(self, timeout: float = 10) -> dict[str, Any]:
        return self.frames.get(timeout=timeout)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self._open.append(connection)
                self.connections.put(connection)
                reading = threading.Thread(target=self._read, args=(connection,), daemon=True)
                self._threads.append(reading)
                reading.start()

    def _read(self, connection: socket.socket) -> None:
        # A connection reset or closed under the reader ends it.
        with contextlib.suppress(OSError, ValueError), connection.makefile("rb") as file:
            for text in file:
                frame = json.loads(text)
                frame["arrived_ns"] = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
                (self.frames if "access_token" in frame else self.lines).put(frame)
                if (answer := self.answer(frame)) is not None:
                    connection.sendall(answer)


def _shut_down(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--path", type=Path)
    parser.add_argument("--uid", type=int)
    options = parser.parse_args()
    if options.uid is not None:
        # Only now: the other user may not be allowed to read this program.
        os.setgroups([])
        os.setuid(options.uid)

    def tell(frame: dict[str, Any]) -> bytes:
        os.write(1, json.dumps({"event": "frame", **frame}).encode() + b"\n")
        return accept(frame)

    for _ in range(options.count):
        path = options.path or options.directory / socket_name()
        Listener(path, tell)
        path.chmod(0o666)
        os.write(1, json.dumps({"event": "ready", "path": str(path)}).encode() + b"\n")
    sys.stdin.read()


if __name__ == "__main__":
    main()
