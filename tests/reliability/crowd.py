"""Many processes on one token file: none may spend what another has spent."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any

from .laboratory import PATIENCE, Laboratory, RefreshProcess, Subject

# A refresh takes less, and systemd waits 0.1 s until it starts a killed program again: 40 lives are
# then as long as the grace.
SECONDS_OF_A_LIFE = 0.25


@dataclass(frozen=True, slots=True)
class CrowdReport:
    """``rounds`` ended well out of those begun; ``facts`` is the provider's view."""

    rounds: int
    failures: tuple[str, ...]
    on_file: int
    facts: dict[str, Any]

    @property
    def sound(self) -> bool:
        """Every request made one generation, none was a reuse, and the file holds the last."""
        seen = self.facts
        return (seen["requests"] == seen["newest"] == self.on_file and not seen["reuses"]
                and not seen["superseded"] and not self.failures)  # fmt: skip

    def __str__(self) -> str:
        seen = self.facts
        failures = f", failures {len(self.failures)} ({self.failures[0]})" if self.failures else ""
        return (f"{self.rounds} rounds, {seen['requests']} requests, {seen['newest']} generations, "
                f"on file {self.on_file}, {seen['reuses']} reuses, "
                f"{seen['superseded']} superseded tokens sent{failures}")  # fmt: skip


def crowd(
    laboratory: Laboratory, *, processes: int, rounds: int, variant: str | None = None
) -> CrowdReport:
    """``processes`` at once, each refreshing ``rounds`` times, at a provider without grace."""
    subject = laboratory.subject(grace=0.0)
    order = {"rounds": rounds, "tell": False, "variant": variant}
    started = [subject.process(patience=3600.0, **order) for _ in range(processes)]
    for process in started:
        process.go()
    with ThreadPoolExecutor(processes) as pool:
        said = [line for lines in pool.map(RefreshProcess.results, started) for line in lines]
    failures = tuple(f"{line['error']}: {line['text']}" for line in said if "error" in line)
    ended = sum("serial" in line for line in said)
    return CrowdReport(ended, failures, subject.number, subject.facts)


@dataclass(frozen=True, slots=True)
class KillReport:
    """``killed`` processes did not live to their end; ``alive``: a refresh then works."""

    killed: int
    completed: int
    alive: bool
    unsound: int
    facts: dict[str, Any]

    @property
    def sound(self) -> bool:
        return self.alive and not (self.unsound or self.facts["reuses"] or self.facts["superseded"])

    def __str__(self) -> str:
        return (f"{self.killed} killed in the middle, {self.completed} came through, "
                f"{self.facts['newest']} generations, {self.facts['reuses']} reuses, "
                f"{self.facts['superseded']} superseded tokens sent, file unsound {self.unsound} "
                f"times, login {'alive' if self.alive else 'LOST'}")  # fmt: skip


def kill_at_random(
    laboratory: Laboratory, *, kills: int, seed: int, grace: float = 10.0
) -> KillReport:
    """One login, one refresh after the other, SIGKILL at a random moment of most of them.

    The provider's clock counts lives, not what a busy machine makes of them; and the killer learns
    how long a refresh takes here, or on a slow machine none would ever come to its answer.
    """
    random, subject = Random(seed), laboratory.subject(grace=grace)
    killed = completed = unsound = number = 0
    usual = _duration(subject)
    while killed < kills:
        subject.set_clock((killed + completed) * SECONDS_OF_A_LIFE)
        process = subject.process(tell=False)
        process.go()
        began = time.monotonic()
        if _kill(process, after=random.uniform(0.0, 1.3 * usual)):
            killed += 1
            usual *= 1.05
        else:
            completed += 1
            usual = (usual + time.monotonic() - began) / 2
        process.results()
        unsound += subject.number < number
        number = max(number, subject.number)
    alive = "serial" in subject.refresh()[-1]
    return KillReport(killed, completed, alive, unsound, subject.facts)


def _kill(process: RefreshProcess, *, after: float) -> bool:
    """Whether SIGKILL met it after that time; False where it had ended by itself."""
    if not process.ended_within(after):
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
            return True
    return False


def _duration(subject: Subject) -> float:
    process = subject.process(tell=False)
    process.go()
    began = time.monotonic()
    process.ended_within(PATIENCE)
    duration = time.monotonic() - began
    process.results()
    return duration
