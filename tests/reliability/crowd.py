"""Many processes on one token file: none may spend what another has spent."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from random import Random
from typing import Any

from .laboratory import PATIENCE, Laboratory, RefreshProcess, Subject

# Nothing helps a login whose every refresh is killed for longer than the grace; well before that
# one is let through.
PATIENCE_OF_PROVIDER = 4.0


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


def kill_at_random(laboratory: Laboratory, *, kills: int, seed: int) -> KillReport:
    """One login, one refresh after the other, SIGKILL at a random moment of each: up to a little
    more than such a refresh lately took, which depends on what else the machine does."""
    random, subject = Random(seed), laboratory.subject()
    killed = completed = unsound = number = 0
    usual, renewed = _duration(subject), time.monotonic()
    while killed < kills:
        process = subject.process(tell=False)
        process.go()
        began = time.monotonic()
        if began - renewed > PATIENCE_OF_PROVIDER:
            moment = PATIENCE
        else:
            moment = random.uniform(0.0, 1.3 * usual)
        if process.ended_within(moment):
            completed += 1
            usual = 0.8 * usual + 0.2 * (time.monotonic() - began)
        else:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        process.results()
        unsound += subject.number < number
        if subject.number > number:
            number, renewed = subject.number, time.monotonic()
    alive = "serial" in subject.refresh()[-1]
    return KillReport(killed, completed, alive, unsound, subject.facts)


def _duration(subject: Subject) -> float:
    process = subject.process(tell=False)
    process.go()
    began = time.monotonic()
    process.ended_within(PATIENCE)
    duration = time.monotonic() - began
    process.results()
    return duration
