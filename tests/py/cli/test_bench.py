"""`tokenrelay bench`: what it judges and what it prints. No figure is asserted."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tokenrelay.bench import plot
from tokenrelay.bench.figures import Figure, percentiles, times_floor
from tokenrelay.bench.row import pinned

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
