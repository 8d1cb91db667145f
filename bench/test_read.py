"""The read tier: C++ and Python, each beside its floor. Figures are shown, never asserted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lab import reads
from lab.statistics import percentiles

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Publish

READERS = [(threads, hz) for threads in (1, 2) for hz in (0, 10_000)]


@pytest.fixture(scope="session")
def native_reads(programs: Path) -> dict[reads.Key, list[float]]:
    return reads.native(programs, quick=True)


@pytest.fixture(scope="session")
def python_reads(programs: Path) -> dict[str, list[float]]:
    return reads.python(programs, quick=True)[0]


@pytest.mark.parametrize(("threads", "hz"), READERS)
@pytest.mark.parametrize("row", ["tokenrelay current()", "tokenrelay Reader", reads.NATIVE_FLOOR])
def test_native_read(
    native_reads: dict[reads.Key, list[float]], publish: Publish, row: str, threads: int, hz: int
) -> None:
    ours = native_reads[row, threads, hz]
    floor = percentiles(native_reads[reads.NATIVE_FLOOR, threads, hz])
    ratio = percentiles(ours).p50 / floor.p50
    writer = f"writer at {hz} Hz" if hz else "writer at rest"
    note = f"p50 {ratio:.2f}x of its floor; promised: 2x"
    publish(f"read in C++, {threads} threads, {writer}", row, ours, note)


@pytest.mark.parametrize(
    "row", ["tokenrelay receiver.token", reads.PYTHON_FLOOR, "attribute", "lock + attribute"]
)
def test_python_read(python_reads: dict[str, list[float]], publish: Publish, row: str) -> None:
    assert row in python_reads, f"{row}: not built; pip install nanobind"
    floor = percentiles(python_reads.get(reads.PYTHON_FLOOR, python_reads["attribute"]))
    ratio = percentiles(python_reads[row]).p50 / floor.p50
    note = f"p50 {ratio:.2f}x of the binding's floor; promised: 1.2x"
    publish("read in Python", row, python_reads[row], note)
