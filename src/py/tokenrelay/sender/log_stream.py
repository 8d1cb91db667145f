"""Where log lines go. They are worth less than a token: what cannot be written is lost, and nobody
waits for it but who can."""

from __future__ import annotations

import atexit
import os
import queue
import select
import threading
from contextlib import suppress
from typing import TextIO

WAITING_LINES = 1000
LAST_WORDS_SECONDS = 0.5


class LossyStream:
    """Text on its way to ``stream``. What cannot be written is lost without an error: a full disk
    or a closed terminal must not come between a new token and its file."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # ValueError: the stream itself is closed
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()


class QueuedStream:
    """Text on its way to a descriptor, written by a thread of its own: a stopped terminal (Ctrl-S)
    or a pipe that nobody reads keeps that one waiting. Of the lines meanwhile a thousand are kept.

    For one thread; nothing blocks but close(), for half a second, as at the end of the process.
    """

    def __init__(self, descriptor: int, encoding: str = "utf-8") -> None:
        self._descriptor, self._encoding, self._text = descriptor, encoding, ""
        self._ended = False
        self._lines: queue.Queue[bytes | None] = queue.Queue(WAITING_LINES)
        self._thread = threading.Thread(target=self._run, name="tokenrelay-log", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, text: str) -> None:
        self._text += text

    def flush(self) -> None:
        line, self._text = self._text.encode(self._encoding, "replace"), ""
        with suppress(queue.Full):
            self._lines.put_nowait(line)

    def close(self) -> None:
        """Write what is left, if that is soon done; nothing after that. Idempotent."""
        if self._ended:
            return
        self._ended = True
        atexit.unregister(self.close)
        with suppress(queue.Full):
            self._lines.put_nowait(None)
        self._thread.join(LAST_WORDS_SECONDS)

    def _run(self) -> None:
        # Past Python's buffers: their lock, held in a write that never ends, would end the process.
        while (line := self._lines.get()) is not None:
            with suppress(OSError):
                self._write(line)

    def _write(self, line: bytes) -> None:
        while line:
            try:
                line = line[os.write(self._descriptor, line) :]
            except BlockingIOError:  # another process has set O_NONBLOCK for all
                select.select([], [self._descriptor], [])
