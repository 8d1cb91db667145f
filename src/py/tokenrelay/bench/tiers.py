"""The tiers of the latency promise (docs/performance.md): what is run, and what was promised."""

from __future__ import annotations

import contextlib
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .figures import Figure, times_floor
from .reads import native_reads, python_reads
from .row import Row, Sample
from .visible import publish_times

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

HOT, SHORT_IDLE, LONG_IDLE = "hot", "20 ms idle", "1 s idle"
MICROSECOND = 1000.0
DELIVERY_FACTOR = 1.15

IDLE_ROWS = ("floor", "native", "python", "floor-spin", "native-spin")

Samples = dict[str, list[Sample]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured. The hot blocks end early on a slow machine."""

    hot_seconds: float = 6.0
    hot_rounds: int = 60
    hot_frames: int = 200
    idle_frames: int = 30
    long_idle_rounds: int = 3
    busy_frames: int = 100
    read_batches: int = 100


QUICK = Plan(
    hot_seconds=2.0,
    hot_rounds=20,
    idle_frames=5,
    long_idle_rounds=0,
    busy_frames=20,
    read_batches=20,
)


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was measured."""

    figures: tuple[Figure, ...]
    notes: tuple[str, ...]

    @property
    def kept(self) -> bool:
        """Whether every promise was."""
        return not any(figure.broken for figure in self.figures)

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "kept": self.kept,
            "figures": [figure.as_json() for figure in self.figures],
            "notes": list(self.notes),
        }


def run(plan: Plan) -> Report:
    """Measure every tier. Takes the time that the plan says, and one processor or two."""
    processors = sorted(os.sched_getaffinity(0))
    one, other = {processors[0]}, {processors[-1]}
    with tempfile.TemporaryDirectory(prefix="tokenrelay-bench-") as name:
        directory = Path(name)
        samples = _measure_rows(plan, directory, one, other)
        figures = [*_callbacks(samples), *_delivery(samples)]
        if one != other:
            blocks = [(HOT, 0, plan.hot_frames)] * plan.hot_rounds
            blocks.append((SHORT_IDLE, 20_000_000, plan.idle_frames))
            blocks += [(LONG_IDLE, 1_000_000_000, 1)] * plan.long_idle_rounds
            times = publish_times(directory, blocks, sender=one, receiver=other)
            figures.insert(0, _publish(times))
        figures += native_reads(directory, plan.read_batches, writer=one, reader=other)
        figures += python_reads(directory, plan.read_batches)
    notes = [_stages({kind: samples[kind][HOT] for kind in ("floor", "follow-up", "python")})]
    if one == other:
        notes.append("One processor only: no publish tier and no busy_poll rows.")
    return Report(tuple(figures), tuple(notes))


def _measure_rows(
    plan: Plan, directory: Path, one: set[int], other: set[int]
) -> dict[str, Samples]:
    # A processor for each end, as for two programs that have work to do; "shared": one for both,
    # where the kernel's share is least.
    places = {
        "floor": (one, other),
        "native": (one, other),
        "floor-shared": (one, one),
        "native-shared": (one, one),
        "follow-up": (one, other),
        "python": (one, other),
        "python-busy": (one, other),
        "floor-spin": (one, other),
        "native-spin": (one, other),
    }
    with contextlib.ExitStack() as stack:
        rows = {
            kind: stack.enter_context(Row(kind, directory, sender=sender, receiver=receiver))
            for kind, (sender, receiver) in places.items()
            if one != other or not kind.endswith("spin")
        }
        for row in rows.values():
            row.ready()
        rows["python-busy"].block(HOT, 0, plan.busy_frames, warm_up=2)
        quiet = [row for kind, row in rows.items() if kind != "python-busy"]
        for row in _in_turns(plan, quiet):
            row.block(HOT, 0, plan.hot_frames)
        for kind in IDLE_ROWS:
            if kind in rows:
                rows[kind].block(SHORT_IDLE, 20_000_000, plan.idle_frames)
        for _ in range(plan.long_idle_rounds):
            time.sleep(1)
            for kind in ("floor", "native", "python"):
                rows[kind].block(LONG_IDLE, 0, 1, warm_up=0)
        return {kind: row.samples() for kind, row in rows.items()}


def _in_turns(plan: Plan, rows: Sequence[Row]) -> Iterator[Row]:
    """Many short rounds, each begun by another row: what the machine does meets all alike."""
    deadline = time.monotonic() + plan.hot_seconds
    for turn in range(plan.hot_rounds):
        first = turn % len(rows)
        yield from (*rows[first:], *rows[:first])
        if time.monotonic() > deadline:
            return


def _publish(times: Mapping[str, Sequence[float]]) -> Figure:
    return Figure(
        tier="publish",
        name="visible to a reader",
        samples=times[HOT],
        idle={gap: values for gap, values in times.items() if gap != HOT and values},
        promise="p99.9 < 2 µs",
        limits={"p99.9": 2 * MICROSECOND},
    )


def _callbacks(samples: Mapping[str, Samples]) -> Iterator[Figure]:
    native = {"p50": MICROSECOND, "p99.9": 10 * MICROSECOND}
    for kind, name in (("native", "blocking"), ("native-spin", "busy_poll")):
        if kind in samples:
            yield _figure(
                "native callback",
                name,
                _own(samples[kind]),
                promise="p50 < 1 µs, p99.9 < 10 µs",
                limits=native,
            )
    yield _figure(
        "Python callback",
        "interpreter idle",
        _own(samples["python"]),
        promise="p99 < 10 µs",
        limits={"p99": 10 * MICROSECOND},
    )
    yield _figure("Python callback", "one thread busy", _own(samples["python-busy"]))


def _delivery(samples: Mapping[str, Samples]) -> Iterator[Figure]:
    for place, name, floor_name in (
        ("", "blocking", "floor: epoll + recv"),
        ("-spin", "busy_poll", "floor: spinning recv"),
        ("-shared", "blocking, one processor", "floor: the same"),
    ):
        if f"native{place}" not in samples:
            continue
        ours, bare = (_delivered(samples[kind + place]) for kind in ("native", "floor"))
        promised = place != "-shared"
        yield _figure(
            "delivery",
            name,
            ours,
            promise=f"p50, p99 <= {DELIVERY_FACTOR} x floor" if promised else "",
            limits=times_floor(bare[HOT], DELIVERY_FACTOR, "p50", "p99") if promised else {},
        )
        yield _figure("delivery", floor_name, bare)


def _figure(
    tier: str,
    name: str,
    times: Mapping[str, Sequence[float]],
    *,
    promise: str = "",
    limits: Mapping[str, float] | None = None,
) -> Figure:
    return Figure(
        tier=tier,
        name=name,
        samples=times[HOT],
        idle={gap: values for gap, values in times.items() if gap != HOT},
        promise=promise,
        limits=limits or {},
    )


def _own(samples: Samples) -> dict[str, list[float]]:
    """Last byte read to callback entered."""
    return {gap: [s.entered - s.received for s in of] for gap, of in samples.items()}


def _delivered(samples: Samples) -> dict[str, list[float]]:
    """Send begins to callback entered."""
    return {gap: [s.entered - s.sent for s in of] for gap, of in samples.items()}


def _stages(samples: Mapping[str, Sequence[Sample]]) -> str:
    """Differences of medians: no clock is read between the native callback and the Python one."""

    def median(kind: str, begin: str, end: str) -> float:
        times: list[int] = [
            getattr(sample, end) - getattr(sample, begin) for sample in samples[kind]
        ]
        return statistics.median(times) / MICROSECOND

    native = median("python", "received", "native")
    answer = median("floor", "entered", "answered")
    follow_up = median("follow-up", "received", "entered")
    python = median("python", "received", "entered")
    return (
        f"Where the Python callback's time goes, at p50: {native:.2f} µs to the native callback, "
        f"{answer:.2f} to answer the sender (as long as the floor takes for it), "
        f"{follow_up - native - answer:.2f} to hand over to the other thread, "
        f"{python - follow_up:.2f} to enter Python."
    )
