"""Percentiles of raw samples, nearest rank: each figure is a sample that was measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lab.ledger import Sample


@dataclass(frozen=True, slots=True)
class Percentiles:
    count: int
    p50: float
    p90: float
    p99: float
    p999: float
    max: float

    def as_dict(self) -> dict[str, float]:
        return {
            "n": self.count,
            "p50": self.p50,
            "p90": self.p90,
            "p99": self.p99,
            "p99.9": self.p999,
            "max": self.max,
        }


def percentiles(samples: Iterable[float]) -> Percentiles:
    """ValueError when there is no sample."""
    ordered = sorted(samples)
    if not ordered:
        raise ValueError("no samples")

    def rank(share: float) -> float:
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)]

    return Percentiles(len(ordered), rank(0.5), rank(0.9), rank(0.99), rank(0.999), ordered[-1])


def delivery_ns(samples: Sequence[Sample]) -> list[int]:
    """Send begins to callback entered."""
    return [sample.entered - sample.sent for sample in samples]


def own_ns(samples: Sequence[Sample]) -> list[int]:
    """Last byte read to callback entered: the receiver's own share."""
    return [sample.entered - sample.received for sample in samples if sample.received]


def publish_ns(samples: Sequence[Sample]) -> list[int]:
    """Last byte read to the token being visible: to the first of two witnesses.

    They are an observing thread and the callback, which runs after publication. The observer alone
    would charge us with each interruption of its own core.
    """
    if not any(sample.seen_after for sample in samples):
        return []
    return [
        min(sample.seen_after or own, own)
        for sample, own in zip(samples, own_ns(samples), strict=True)
    ]
