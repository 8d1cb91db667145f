"""Waiting for a line of a program's output, with a deadline."""

from __future__ import annotations

import os
import select
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from subprocess import Popen


class SilentError(Exception):
    """The program ended or did not say it in time."""


class Lines:
    """Reads a pipe by descriptor, since poll() cannot see what a file object has buffered."""

    def __init__(self, process: Popen[bytes]) -> None:
        assert process.stdout is not None
        self._process = process
        self._descriptor = process.stdout.fileno()
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLIN)
        self._pending = b""

    def next(self, seconds: float) -> str:
        deadline = time.monotonic() + seconds
        while b"\n" not in self._pending:
            left = max(0.0, deadline - time.monotonic())
            if not self._poll.poll(left * 1e3):
                raise SilentError(f"nothing from the program within {seconds:g} s")
            chunk = os.read(self._descriptor, 65536)
            if not chunk:
                raise SilentError(f"the program ended (status {self._process.wait()})")
            self._pending += chunk
        line, _, self._pending = self._pending.partition(b"\n")
        return line.decode()

    def until(self, text: str, seconds: float) -> list[str]:
        """The lines before the one that contains `text`."""
        seen: list[str] = []
        while text not in (line := self.next(seconds)):
            seen.append(line)
        return seen
