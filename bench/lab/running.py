"""One row's live processes: started once, frozen outside their blocks."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from lab.ledger import Ledger, Sample
from lab.lines import Lines, SilentError
from lab.rows import RECEIVER_CPU, SENDER_CPU, Place

if TYPE_CHECKING:
    from lab.rows import Row

BENCH = Path(__file__).resolve().parent.parent
START_SECONDS = 20.0
BLOCK_SECONDS = 120.0
PROCESSORS = {
    Place.SCHEDULER: (os.sched_getaffinity(0),) * 2,
    Place.TOGETHER: ({int(SENDER_CPU)},) * 2,
    Place.APART: ({int(SENDER_CPU)}, {int(RECEIVER_CPU)}),
}  # of the sender, of all others


class RowError(Exception):
    """A program of the row ended, refused or kept silent; the text says which."""


class Running:
    """Sender, receiver and perhaps a broker of one row. Not thread-safe."""

    def __init__(self, row: Row, directory: Path, programs: Path) -> None:
        self.row = row
        self._processes: list[subprocess.Popen[bytes]] = []
        ledger = directory / "ledger"
        self._ledger = Ledger.create(ledger)
        self._read_end, self._write_end = os.pipe()
        self._fields = {
            "ledger": str(ledger),
            "socket": str(directory / "s"),
            "file": str(directory / "token.json"),
            "bin": str(programs),
        }
        try:
            self._start_all()
        except BaseException:
            self.close()
            raise
        self.freeze()

    def _start_all(self) -> None:
        if self.row.broker:
            self._start(self.row.broker, ack=-1, ready="eady to accept connections")
        order = [("receiver", self._write_end), ("sender", self._read_end)]
        for role, ack in reversed(order) if self.row.sender_first else order:
            process, lines = self._start(getattr(self.row, role), ack=ack, ready="ready")
            if role == "sender":
                self._sender, self._answers = process, lines

    def _start(
        self, command: tuple[str, ...], *, ack: int, ready: str
    ) -> tuple[subprocess.Popen[bytes], Lines]:
        process = subprocess.Popen(
            [part.format(ack=ack, **self._fields) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=BENCH,
            env=os.environ | {"PYTHONPATH": str(BENCH)},
            pass_fds=(ack,) if ack >= 0 else (),
        )
        self._processes.append(process)
        lines = Lines(process)
        self._await(lines, ready, START_SECONDS)
        return process, lines

    def _await(self, lines: Lines, text: str, seconds: float) -> None:
        try:
            lines.until(text, seconds)
        except SilentError as error:
            raise RowError(f"waiting for {text!r}: {error}") from error

    def freeze(self) -> None:
        for process in self._processes:
            process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        for process in self._processes:
            process.send_signal(signal.SIGCONT)

    def place(self, place: Place) -> None:
        """Has each thread run where the place says. Ends that choose for themselves stay there."""
        if self.row.pinned:
            return
        sending, receiving = PROCESSORS[place]
        for process in self._processes:
            processors = sending if process is self._sender else receiving
            for thread in Path(f"/proc/{process.pid}/task").iterdir():
                with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
                    os.sched_setaffinity(int(thread.name), processors)

    def block(self, count: int, gap_ns: int, *, warm_up: int) -> list[Sample]:
        """Sends `warm_up + count` messages and returns the samples of the last `count`."""
        self.thaw()
        try:
            assert self._sender.stdin is not None
            self._sender.stdin.write(f"block {warm_up + count} {gap_ns}\n".encode())
            self._sender.stdin.flush()
            self._await(self._answers, "done", BLOCK_SECONDS)
        except OSError as error:
            raise RowError(f"the sender is gone ({error})") from error
        finally:
            self.freeze()
        return self._ledger.samples(warm_up, warm_up + count)

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()
        os.close(self._read_end)
        os.close(self._write_end)
