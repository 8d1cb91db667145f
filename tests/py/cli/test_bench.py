"""`tokenrelay bench`: what it judges and what it prints. No figure is asserted."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import pytest
from rich.console import Console

from tokenrelay.bench import plot
from tokenrelay.bench.figures import Figure, percentiles, times_floor
from tokenrelay.bench.row import pinned
from tokenrelay.bench.table import render
from tokenrelay.bench.tiers import Report

FIGURE = Figure(
    tier="publish",
    name="a name",
    samples=[float(number) for number in range(1, 1001)],
    promise="p99.9 < 2 µs",
    limits={"p50": 500.0, "p99.9": 998.0},
)
TIERS = {"publish", "native callback", "Python callback", "delivery", "read in Python"}


def test_percentiles_are_samples() -> None:
    found = percentiles([3, 1, 2])
    assert found == {"p50": 2, "p90": 3, "p99": 3, "p99.9": 3, "max": 3}


def test_a_percentile_over_its_limit_breaks_the_promise() -> None:
    assert FIGURE.broken == ("p99.9",)
    assert FIGURE.as_json()["broken"] == ["p99.9"]


def test_a_floor_sets_the_limits_of_its_own_run() -> None:
    assert times_floor([100, 200, 300], 1.5, "p50", "p99") == {"p50": 300, "p99": 450}


def test_a_missing_matplotlib_is_told_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(plot.MissingLibraryError, match=r"pip install 'tokenrelay\[plot\]'"):
        plot.check()


@pytest.mark.timeout(300)
def test_a_quick_run_measures_every_tier() -> None:
    command = [sys.executable, "-m", "tokenrelay", "bench", "--quick", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    assert done.returncode == (0 if report["kept"] else 1)
    assert {figure["tier"] for figure in report["figures"]} >= TIERS
    assert all(figure["samples"] > 0 for figure in report["figures"])
    assert report["kept"] == (not any(figure["broken"] for figure in report["figures"]))
    assert any("to hand over to the other thread" in note for note in report["notes"])


@pytest.mark.timeout(300)
def test_on_one_processor_what_needs_two_is_left_out_and_said() -> None:
    command = [sys.executable, "-m", "tokenrelay", "bench", "--quick", "--json"]
    one = {min(os.sched_getaffinity(0))}
    with pinned(one):  # what is started inherits it
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    tiers = {figure["tier"] for figure in report["figures"]}
    assert tiers >= TIERS - {"publish"}
    assert "publish" not in tiers
    assert not any("busy_poll" in figure["name"] for figure in report["figures"])
    assert any(note.startswith("One processor only") for note in report["notes"])


NAMES = (
    "visible to a reader",
    "interpreter idle",
    "blocking, one processor",
    "floor: epoll + recv",
)
PROMISE = "p50 < 1 µs, p99.9 < 10 µs"


@pytest.mark.parametrize("broken", [False, True])
def test_a_terminal_of_eighty_columns_shows_each_promise(*, broken: bool) -> None:
    figures = tuple(
        Figure(
            tier="delivery",
            name=name,
            samples=[30_123.0, 1_402_000.0],
            idle={"20 ms idle": [158_770.0], "1 s idle": [97_280.0]},
            promise=PROMISE,
            limits={"p50": 1.0} if broken else {},
        )
        for name in NAMES
    )
    screen = Console(width=80, file=io.StringIO(), record=True)
    screen.print(render(Report(figures=figures, notes=())))
    lines = screen.export_text().splitlines()
    assert max(map(len, lines)) <= 80
    for name in NAMES:
        at = next(number for number, line in enumerate(lines) if name in line)
        mark = lines[at].index("✗" if broken else "✓")
        assert all(f" {value} " in lines[at] for value in ("30.12", "1402", "159", "97.28"))
        beside = " ".join(line[mark:].strip() for line in lines[at : at + 3])
        assert beside[2:].startswith(PROMISE)
