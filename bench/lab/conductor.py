"""Runs the rows in turns, block by block, so that ratios hold while the machine drifts."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lab.rows import Place
from lab.running import RowError, Running

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lab.ledger import Sample
    from lab.rows import Row

WARM_UP = 10


@dataclass(frozen=True, slots=True)
class Gap:
    """The pause before each message, how many of them make a block, and where its ends run."""

    name: str
    nanoseconds: int
    block: int
    place: Place = Place.SCHEDULER


@dataclass(frozen=True, slots=True)
class Plan:
    rounds: int
    gaps: tuple[Gap, ...]


FULL = Plan(
    20,
    (
        Gap("ping-pong", 0, 500),
        Gap("1 ms idle", 1_000_000, 100),
        Gap("20 ms idle", 20_000_000, 25),
    ),
)
QUICK = Plan(
    10,
    (Gap("ping-pong", 0, 150), Gap("1 ms idle", 1_000_000, 30), Gap("20 ms idle", 20_000_000, 6)),
)
PLACED = (Place.TOGETHER, Place.APART)
LONG_IDLE = Gap("1 s idle", 1_000_000_000, 2)


def placed(plan: Plan) -> Plan:
    """The plan, its first gap also with the ends where each place wants them.

    The scheduler puts a row on one processor or on two, as it likes, and the kernel's part of a
    delivery differs by more than any receiver's own.
    """
    first = plan.gaps[0]
    more = (replace(first, name=f"{first.name}, {place.value}", place=place) for place in PLACED)
    return replace(plan, gaps=(*plan.gaps, *more))


@dataclass(slots=True)
class Result:
    """Samples by row and gap, and what could not run with the reason."""

    samples: dict[str, dict[str, list[Sample]]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def scratch_directory() -> tempfile.TemporaryDirectory[str]:
    """In memory where the machine has /dev/shm: short paths, no disk behind the file row."""
    memory = Path("/dev/shm")
    return tempfile.TemporaryDirectory(
        prefix="trb-", dir=memory if memory.is_dir() else None, ignore_cleanup_errors=True
    )


def start(row: Row, directory: Path, programs: Path) -> Running:
    directory.mkdir()
    if missing := row.missing():
        raise RowError(f"missing: {missing}")
    try:
        return Running(row, directory, programs)
    except OSError as error:
        raise RowError(f"cannot start: {error}") from error


def conduct(
    rows: Sequence[Row], plan: Plan, programs: Path, say: Callable[[str], None] = print
) -> Result:
    """Every row in every round; the order turns by one each round."""
    result = Result()
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(scratch_directory()))
        live: list[Running] = []
        for number, row in enumerate(rows):
            try:
                running = start(row, scratch / str(number), programs)
            except RowError as error:
                result.left_out[row.name] = str(error)
                say(f"left out: {row.name}: {error}")
                continue
            stack.callback(running.close)
            live.append(running)
        for turn in range(plan.rounds):
            say(f"round {turn + 1} of {plan.rounds}, {len(live)} rows")
            one_round(live, plan, turn, result, say)
    return result


def one_round(
    live: list[Running], plan: Plan, turn: int, result: Result, say: Callable[[str], None]
) -> None:
    for gap in plan.gaps:
        for position in range(len(live)):
            running = live[(position + turn) % len(live)]
            name = running.row.name
            if name in result.left_out or (running.row.pinned and gap.place is Place.TOGETHER):
                continue
            warm_up = min(WARM_UP, gap.block)
            try:
                running.place(gap.place)
                samples = running.block(gap.block, gap.nanoseconds, warm_up=warm_up)
            except RowError as error:
                result.left_out[name] = str(error)
                say(f"stopped: {name}: {error}")
                continue
            result.samples.setdefault(name, {}).setdefault(gap.name, []).extend(samples)
