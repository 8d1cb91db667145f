"""Started programs whose output lines can be waited for."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

SUPPORT = Path(__file__).parent
TOKENRELAY = (sys.executable, "-m", "tokenrelay")
RECEIVE = (sys.executable, SUPPORT / "receive.py")
DEFAULT_TIMEOUT = 30.0


def boot_ns() -> int:
    """Return CLOCK_BOOTTIME in nanoseconds: one clock for every process of the host."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Line:
    """One line a program printed, and when it was read (BOOTTIME ns)."""

    index: int
    stream: str
    text: str
    seen_ns: int

    @property
    def fields(self) -> dict[str, Any]:
        """The line's JSON object, or nothing where it is not one."""
        try:
            value = json.loads(self.text)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


class Program:
    """A process whose standard output and error are read line by line as they come."""

    def __init__(
        self, arguments: Sequence[str | Path], *, environment: Mapping[str, str] | None = None
    ) -> None:
        self._process = subprocess.Popen(
            [str(argument) for argument in arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=None if environment is None else dict(environment),
            text=True,
        )
        self._lines: list[Line] = []
        self._changed = threading.Condition()
        streams = (("out", self._process.stdout), ("err", self._process.stderr))
        self._open_streams = len(streams)
        self._readers = [
            threading.Thread(target=self._read, args=stream, daemon=True) for stream in streams
        ]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def lines(self) -> tuple[Line, ...]:
        with self._changed:
            return tuple(self._lines)

    @property
    def output(self) -> str:
        return "\n".join(f"{line.stream}: {line.text}" for line in self.lines)

    def wait_for(
        self,
        matches: Callable[[Line], bool],
        *,
        after: Line | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> Line:
        """Return the first matching line after `after`; fail when there will be none."""
        first = 0 if after is None else after.index + 1

        def find() -> Line | None:
            return next((line for line in self._lines[first:] if matches(line)), None)

        with self._changed:
            self._changed.wait_for(lambda: find() or not self._open_streams, timeout)
            found = find()
        assert found is not None, (
            f"the awaited line never came; the program printed:\n{self.output}"
        )
        return found

    def wait_for_event(
        self,
        event: str,
        *,
        after: Line | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        **fields: Any,
    ) -> Line:
        """Return the first JSON line of this event that carries these fields."""
        wanted = {"event": event, **fields}
        return self.wait_for(
            lambda line: wanted.items() <= line.fields.items(), after=after, timeout=timeout
        )

    def wait(self, timeout: float = DEFAULT_TIMEOUT) -> int:
        """Wait for the end and for the last line; return the exit code."""
        code = self._process.wait(timeout)
        for reader in self._readers:
            reader.join(timeout)
        return code

    def kill(self) -> None:
        """End it as a crash would: SIGKILL, no clean-up."""
        self._process.kill()
        self.wait()

    def terminate(self, timeout: float = DEFAULT_TIMEOUT) -> int:
        """Ask it to end as a service manager would (SIGTERM); return the exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self.wait(timeout)

    def write(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(text)
        self._process.stdin.flush()

    def close_input(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()

    def dispose(self) -> None:
        """Leave nothing behind, whatever state the test left it in."""
        self.kill()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()

    def _read(self, name: str, stream: IO[str]) -> None:
        for text in stream:
            seen_ns = boot_ns()
            with self._changed:
                line = Line(len(self._lines), name, text.rstrip("\n"), seen_ns)
                self._lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._open_streams -= 1
            self._changed.notify_all()


class Start(Protocol):
    """Starts a program that is ended with the test (the fixture `start`)."""

    def __call__(
        self, *arguments: str | Path, environment: Mapping[str, str] | None = None
    ) -> Program: ...


def tokens_of(receiver: Program) -> list[dict[str, Any]]:
    """Return what a started receive.py has told of its tokens so far, oldest first."""
    return [line.fields for line in receiver.lines if line.fields.get("event") == "token"]


def wait_for_tokens(receiver: Program, count: int) -> list[dict[str, Any]]:
    """Wait until a started receive.py has told of this many tokens; return them all."""
    line: Line | None = None
    for _ in range(count):
        line = receiver.wait_for_event("token", after=line)
    return tokens_of(receiver)
