"""Senders with a known mistake must fail the checks that the real one passes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from reliability import crowd, faults, power_cut
from reliability.laboratory import Laboratory
from reliability.simulation import World, simulate
from reliability.tracing import KILLS

if TYPE_CHECKING:
    from collections.abc import Iterator

WORLD = World(200, seed=3)


@pytest.fixture
def laboratory() -> Iterator[Laboratory]:
    with Laboratory() as started:
        yield started


@pytest.mark.parametrize("variant", ["no lock", "decision outside the lock"])
def test_processes_on_one_file_catch(laboratory: Laboratory, variant: str) -> None:
    report = crowd.crowd(laboratory, processes=8, rounds=10, variant=variant)
    assert not report.sound
    assert report.facts["reuses"] > 0


@pytest.mark.parametrize(
    ("variant", "promise"),
    [("publish before durable", "published before durable"), ("blank on error", "file unreadable")],
)
def test_simulation_catches(variant: str, promise: str) -> None:
    assert simulate(WORLD, variant=variant).broken[promise] > 0
    assert simulate(WORLD).sound(WORLD)


def test_kill_in_the_middle_catches_publish_before_durable(laboratory: Laboratory) -> None:
    calls = [call for call in faults.calls_of_a_refresh(laboratory)
             if call.name == "rename" and call.on == "new token file"]  # fmt: skip
    for variant, expected in (
        (None, ()),
        ("publish before durable", ("published before durable",)),
    ):
        cases = [case for case in faults.system_call_cases(calls, variant=variant)
                 if case.column == KILLS[0].name]  # fmt: skip
        assert [result.broken for result in faults.run(laboratory, cases)] == [expected]


def test_power_cut_catches_a_rename_without_fsync() -> None:
    assert power_cut.cut_power(variant="no fsync").violations
