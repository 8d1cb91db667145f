"""A script in a terminal: what it shows can be awaited, what it asks is answered."""

from __future__ import annotations

import codecs
import os
import pty
import re
import signal
import subprocess
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

PATIENCE = 30.0  # s until a test gives up
CONTROL = re.compile(r"\r|\x1b\[[0-9;?]*[A-Za-z]")  # ECMA-48 §5.4


class Typed:
    """A shell that runs a script in a terminal of its own and stops at the first failure.

    ``answers``: what to type once the terminal shows a text that ends so; given all it showed.
    """

    def __init__(
        self,
        script: str,
        *,
        environment: Mapping[str, str],
        folder: Path,
        answers: Mapping[str, Callable[[str], str]],
    ) -> None:
        self._terminal, end = pty.openpty()
        self._process = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", script], env=dict(environment), cwd=folder,
            stdin=end, stdout=end, stderr=end, start_new_session=True,
        )  # fmt: skip
        os.close(end)
        self._answers = answers
        self._shown, self._ended = "", False
        self._changed = threading.Condition(threading.RLock())
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def shown(self) -> str:
        """All that the terminal has shown so far, without its colours."""
        with self._changed:
            return CONTROL.sub("", self._shown)

    def wait_for(self, text: str) -> None:
        """Wait until the terminal shows this."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or text in self.shown, PATIENCE)
        assert text in self.shown, f"{text!r} was not shown:\n{self.shown}"

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        os.killpg(self._process.pid, signal.SIGINT)

    def wait(self) -> int:
        """Wait for the end; return the exit code."""
        try:
            return self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end:\n{self.shown}") from None
        finally:
            self.dispose()

    def dispose(self) -> None:
        """Leave nothing behind."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._reader.join(PATIENCE)

    def _read(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")()
        while chunk := _receive(self._terminal):
            self._show(decoder.decode(chunk))
            for question, answer in self._answers.items():
                if self._shown.endswith(question):
                    os.write(self._terminal, answer(self._shown).encode() + b"\n")
        os.close(self._terminal)
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _show(self, text: str) -> None:
        with self._changed:
            self._shown += text
            self._changed.notify_all()


def _receive(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # EIO: nobody holds the other end any more
        return b""
