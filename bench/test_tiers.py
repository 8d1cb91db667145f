"""The tiers between processes: publish, callbacks, delivery. Figures are shown, never asserted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pytest

from conftest import PLAN, PYTHON_CALLBACK, Publish
from lab import rows
from lab.ledger import Sample
from lab.statistics import delivery_ns, own_ns, percentiles, publish_ns

if TYPE_CHECKING:
    from lab.conductor import Result

GAPS = [gap.name for gap in PLAN.gaps]
Tier = Callable[[Sequence[Sample]], list[int]]

NATIVE_PROMISE = "p50 < 1, p99.9 < 10"
PYTHON_PROMISE = "p99 < 10"
PUBLISH_PROMISE = "p99.9 < 2"


def samples_of(measured: Result, row: str, gap: str) -> list[Sample]:
    if row in measured.left_out:
        pytest.fail(f"{row}: {measured.left_out[row]}", pytrace=False)
    return measured.samples[row][gap]


def promise_for(gap: str, promise: str) -> str:
    """The promise is for the hot path; what an idle gap adds is shown beside it."""
    return f"promised: {promise}" if gap == "ping-pong" else "no promise: caches are cold"


@pytest.mark.parametrize("gap", GAPS)
@pytest.mark.parametrize(
    ("name", "row", "tier", "promise"),
    [
        ("publish", rows.TOKENRELAY_OBSERVED.name, publish_ns, PUBLISH_PROMISE),
        ("native callback", rows.TOKENRELAY.name, own_ns, NATIVE_PROMISE),
        ("native callback, busy_poll", rows.TOKENRELAY_BUSY_POLL.name, own_ns, NATIVE_PROMISE),
        ("Python callback", PYTHON_CALLBACK.name, own_ns, PYTHON_PROMISE),
    ],
    ids=["publish", "native", "native-busy-poll", "python"],
)
def test_from_the_last_byte_read(
    measured: Result, publish: Publish, gap: str, name: str, row: str, tier: Tier, promise: str
) -> None:
    samples = tier(samples_of(measured, row, gap))
    publish(f"from the last byte read, {gap}", name, samples, promise_for(gap, promise))


@pytest.mark.parametrize("gap", GAPS)
@pytest.mark.parametrize(
    "row",
    [rows.floor("epoll"), rows.TOKENRELAY, rows.SPINNING_FLOOR, rows.TOKENRELAY_BUSY_POLL],
    ids=lambda row: row.name,
)
def test_delivery_against_its_floor(
    measured: Result, publish: Publish, gap: str, row: rows.Row
) -> None:
    samples = delivery_ns(samples_of(measured, row.name, gap))
    ours = percentiles(samples)
    floor = percentiles(delivery_ns(samples_of(measured, row.floor, gap)))
    ratio = f"p50 {ours.p50 / floor.p50:.2f}x, p99 {ours.p99 / floor.p99:.2f}x of its floor"
    note = "the floor" if row.name == row.floor else f"{ratio}; promised: 1.15x"
    publish(f"delivery, send begins to callback entered, {gap}", row.name, samples, note)
