"""The demo's child processes, whose reports arrive in one queue."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import deque
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from queue import SimpleQueue

END_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Report:
    """One line of a child. ``child`` tells a restarted worker from its predecessor."""

    child: Child
    fields: dict[str, Any]

    @property
    def event(self) -> str:
        return str(self.fields.get("event", ""))


class Child:
    """``python -m MODULE ARGUMENTS`` with our pipes; what it prints becomes reports."""

    def __init__(
        self,
        name: str,
        module: str,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        reports: SimpleQueue[Report],
    ) -> None:
        self.name = name
        self.last_lines: deque[str] = deque(maxlen=5)
        self._reports = reports
        # A session of its own: Ctrl-C in the terminal reaches the parent only, which ends us all.
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        streams = [s for s in (self._process.stdout, self._process.stderr) if s is not None]
        self._readers = [threading.Thread(target=self._read, args=(s,)) for s in streams]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def kill(self) -> None:
        """SIGKILL: no clean-up, as in a crash."""
        self._process.kill()
        self._wait()

    def close(self) -> int:
        """End it in its own way: input closed, then SIGTERM, then SIGKILL; its exit code."""
        self._close_input()
        return self._wait()

    def terminate(self) -> int:
        """End it as a service manager does: SIGTERM, then SIGKILL; its exit code."""
        self._process.terminate()
        return self._wait()

    def _close_input(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()

    def _wait(self) -> int:
        for urge in (self._process.terminate, self._process.kill):
            try:
                self._process.wait(END_SECONDS)
                break
            except subprocess.TimeoutExpired:
                urge()
        code = self._process.wait()
        for reader in self._readers:
            reader.join()
        self._close_input()
        return code

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                try:
                    fields = json.loads(line)
                except ValueError:
                    fields = None
                if isinstance(fields, dict):
                    self._reports.put(Report(self, fields))
                else:
                    self.last_lines.append(line.rstrip())
