"""`pytest bench --benchmark-only`: the tiers of the latency promise, measured on this machine.

The processes are timed by their own stamps (lab/ledger.py); pytest-benchmark is given the samples
through a timer that replays them, so that its table, its JSON and its comparisons show them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from lab import build, conductor, rows
from lab.conductor import Gap, Plan, Result
from lab.report import heading, line
from lab.statistics import percentiles

PLAN = Plan(8, (Gap("ping-pong", 0, 1000), Gap("20 ms idle", 20_000_000, 10)))
PYTHON_CALLBACK = rows.python_row("Python callback, idle", "callback")
ROWS = (
    *(rows.floor("epoll"), rows.SPINNING_FLOOR),
    *(rows.TOKENRELAY, rows.TOKENRELAY_BUSY_POLL, rows.TOKENRELAY_OBSERVED),
    PYTHON_CALLBACK,
)

Publish = Callable[..., None]
tables_key = pytest.StashKey[dict[str, list[str]]]()


class Replay:
    """A timer that stands still but for the samples it is told to let pass."""

    def __init__(self) -> None:
        self._now = 0.0
        self._samples: list[float] = []

    def __call__(self) -> float:
        return self._now

    def load(self, seconds: Sequence[float]) -> None:
        self._samples = list(reversed(seconds))

    def advance(self) -> None:
        self._now += self._samples.pop()


replay = Replay()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.benchmark(timer=replay))
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(scope="session")
def programs() -> Path:
    try:
        return build.build(python_floor=True)
    except build.BuildError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def measured(programs: Path) -> Result:
    """Every delivery row in the same interleaved run."""
    return conductor.conduct(ROWS, PLAN, programs, say=lambda text: None)


@pytest.fixture
def publish(benchmark: Any, request: pytest.FixtureRequest) -> Publish:
    """Hands samples to pytest-benchmark and a line to the tables at the end of the run."""

    def publish(group: str, name: str, samples_ns: Sequence[float], note: str) -> None:
        figures = percentiles(samples_ns)
        replay.load([value / 1e9 for value in samples_ns])
        benchmark.group = group
        benchmark.name = name
        benchmark.pedantic(replay.advance, rounds=len(samples_ns))
        benchmark.extra_info.update(figures.as_dict(), unit="ns", note=note)
        tables = request.config.stash.setdefault(tables_key, {})
        scale = 1.0 if group.startswith("read") else 1e3
        text = line(name, figures, scale=scale, ratio=f"  {note}")
        tables.setdefault(f"{group}, {'ns' if scale == 1.0 else 'µs'}", []).append(text)

    return publish


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    for title, lines in config.stash.get(tables_key, {}).items():
        terminalreporter.write_line(heading(title))
        for text in lines:
            terminalreporter.write_line(text)
