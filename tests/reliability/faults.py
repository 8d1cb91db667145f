"""The fault matrix: every system call of the refresh transaction, disturbed in every way."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .tracing import FAULTS, Call, Fault, disturb, faults_of, record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .laboratory import Laboratory, Subject

PARALLEL = 2
WRITE_LIMITS = (1, 7, 64)


@dataclass(frozen=True, slots=True)
class Result:
    """What one case left behind. ``broken`` names the promises it broke; none is right."""

    row: Call
    column: str
    state: str
    broken: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """``disturbance`` refreshes once in its own way and returns what the process said."""

    row: Call
    column: str
    killed: bool
    disturbance: Callable[[Subject], list[dict[str, Any]]]


def calls_of_a_refresh(laboratory: Laboratory) -> list[Call]:
    """Every system call of both threads of one refresh."""
    return [call for thread in ("main", "worker") for call in record(laboratory.subject(), thread)]


def system_call_cases(calls: Iterable[Call], **order: Any) -> list[Case]:
    """Each call with each of its faults."""
    return [_system_call_case(call, fault, order) for call in calls for fault in faults_of(call)]


def short_write_cases() -> list[Case]:
    """Every write of the transaction a short one."""
    return [_short_write_case(limit) for limit in WRITE_LIMITS]


def cut_cases(laboratory: Laboratory, *, every: int = 1) -> list[Case]:
    """The provider's answer cut at every byte, by FIN and by RST."""
    subject = laboratory.subject()
    subject.refresh()
    length = subject.facts["answer_bytes"]
    return [_cut_case(at, reset) for reset in (False, True) for at in range(0, length, every)]


def run(laboratory: Laboratory, cases: list[Case]) -> list[Result]:
    """Every case on a login of its own."""
    with ThreadPoolExecutor(PARALLEL) as pool:
        return list(pool.map(lambda case: run_one(laboratory.subject(), case), cases))


def run_one(subject: Subject, case: Case) -> Result:
    before = subject.number
    said = case.disturbance(subject)
    after, serial = subject.number, _serial(subject)
    broken = []
    if after < before:
        broken.append("file neither old nor new")
    if case.killed and any(line.get("published", 0) > serial for line in said):
        broken.append("published before durable")
    if not case.killed and not {"serial", "error"} & set(said[-1] if said else ()):
        broken.append("died of it")
    follow_up = subject.refresh()
    facts = subject.facts
    if "serial" not in follow_up[-1] or facts["revoked"] or subject.number != facts["newest"]:
        broken.append("login lost")
    if facts["superseded"]:
        broken.append("superseded token sent")
    return Result(case.row, case.column, "new" if after > before else "old", tuple(broken))


def table(results: list[Result]) -> str:
    """A row for each call, a column for each fault, and the sums."""
    rows: dict[Call, dict[str, Result]] = {}
    for result in results:
        rows.setdefault(result.row, {})[result.column] = result
    columns = [fault.name for fault in FAULTS]
    head = f"{'thread call         # on':44}" + "".join(f"{name:>12}" for name in columns)
    lines = [head]
    for row, found in rows.items():
        cells = "".join(f"{_cell(found.get(name)):>12}" for name in columns)
        lines.append(f"{row!s:44}" + cells)
    return "\n".join([*lines, "", summary(results)])


def summary(results: list[Result]) -> str:
    """The sums of ``results`` on one line."""
    promises = ("login lost", "superseded token sent", "file neither old nor new",
                "published before durable", "died of it")  # fmt: skip
    sums = [f"{sum(name in result.broken for result in results)} {name}" for name in promises]
    states = [f"{sum(result.state == state for result in results)} {state}"
              for state in ("old", "new")]  # fmt: skip
    return f"{len(results)} cases; file afterwards: {', '.join(states)}; " + ", ".join(sums)


def _system_call_case(call: Call, fault: Fault, order: dict[str, Any]) -> Case:
    return Case(
        call, fault.name, fault.kills, lambda subject: disturb(subject, call, fault, **order)
    )


def _short_write_case(limit: int) -> Case:
    row = Call("worker", "pwrite64", 0, f"each of {limit} bytes")
    return Case(row, "short", False, lambda subject: subject.refresh(write_limit=limit))


def _cut_case(at: int, reset: bool) -> Case:
    def refresh(subject: Subject) -> list[dict[str, Any]]:
        subject.cut_next_answer(at, reset=reset)
        return subject.refresh()

    row = Call("main", "answer", at, f"cut here by {'RST' if reset else 'FIN'}")
    return Case(row, "short", False, refresh)


def _serial(subject: Subject) -> int:
    token = subject.vault.load() if subject.number >= 0 else None
    return token.serial if token else 0


def _cell(result: Result | None) -> str:
    if result is None:
        return "."
    return "LOST" if "login lost" in result.broken else "BAD" if result.broken else result.state
