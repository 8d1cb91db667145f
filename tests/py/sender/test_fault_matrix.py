"""Samples of the fault matrix; ``python -m tests.reliability faults cuts`` does the whole."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from reliability import crowd, faults
from reliability.laboratory import PATIENCE, Laboratory

if TYPE_CHECKING:
    from collections.abc import Iterator

SEED = 4


@pytest.fixture(scope="module")
def laboratory() -> Iterator[Laboratory]:
    with Laboratory() as started:
        yield started


def broken(results: list[faults.Result]) -> list[faults.Result]:
    return [result for result in results if result.broken]


def test_no_fault_at_a_system_call_costs_the_login(laboratory: Laboratory) -> None:
    cases = faults.system_call_cases(faults.calls_of_a_refresh(laboratory))
    assert len(cases) >= 150
    # Prime to the number of faults, so that each is met.
    assert broken(faults.run(laboratory, cases[::11])) == []


def test_process_killed_while_it_waits_has_said_nothing(laboratory: Laboratory) -> None:
    process = laboratory.subject().process()
    os.kill(process.pid, signal.SIGKILL)
    assert process.ended_within(PATIENCE)
    process.go()
    assert process.results() == []


def test_short_writes_leave_the_file_whole(laboratory: Laboratory) -> None:
    assert broken(faults.run(laboratory, faults.short_write_cases())) == []


def test_answer_cut_anywhere_does_not_cost_the_login(laboratory: Laboratory) -> None:
    assert broken(faults.run(laboratory, faults.cut_cases(laboratory, every=9))) == []


def test_processes_on_one_file_make_as_many_requests_as_generations(
    laboratory: Laboratory,
) -> None:
    report = crowd.crowd(laboratory, processes=8, rounds=50)
    assert report.rounds == 400
    assert report.sound, str(report)


def test_login_is_alive_after_random_kills(laboratory: Laboratory) -> None:
    report = crowd.kill_at_random(laboratory, kills=60, seed=SEED)
    assert report.sound, f"seed {SEED}: {report}"


def test_without_grace_random_kills_cost_the_login(laboratory: Laboratory) -> None:
    """What the test above owes to the grace, and that it could see a lost login."""
    report = crowd.kill_at_random(laboratory, kills=60, seed=SEED, grace=0.0)
    assert not report.alive, f"seed {SEED}: {report}"
