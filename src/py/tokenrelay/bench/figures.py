"""Figures and promises, pure: percentiles of samples, and which promise they break."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "max": 1.0}


def percentiles(samples: Sequence[float]) -> dict[str, float]:
    """Nearest rank, so that each figure is a sample. ValueError where there is none."""
    if not samples:
        raise ValueError("no samples")
    ordered = sorted(samples)
    last = len(ordered) - 1
    return {
        name: ordered[min(last, max(0, math.ceil(share * len(ordered)) - 1))]
        for name, share in QUANTILES.items()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What was measured of one thing. All times in nanoseconds."""

    tier: str
    name: str
    """What, within the tier. A floor's begins with ``floor``."""
    samples: Sequence[float]
    """Hot: one right after the other."""
    idle: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """After idle gaps, by the gap's name. Never part of a promise."""
    promise: str = ""
    """In words; empty where the figure is there for comparison."""
    limits: Mapping[str, float] = field(default_factory=dict)
    """The promise as numbers: percentile name to nanoseconds."""

    @property
    def percentiles(self) -> dict[str, float]:
        return percentiles(self.samples)

    @property
    def is_read(self) -> bool:
        """Whether the samples are single reads, not waits for a token."""
        return self.tier.startswith("read")

    @property
    def is_floor(self) -> bool:
        """Whether it is there for others to be compared with."""
        return self.name.startswith("floor")

    @property
    def broken(self) -> tuple[str, ...]:
        """The percentiles over their limits."""
        found = self.percentiles
        return tuple(name for name, limit in self.limits.items() if found[name] > limit)

    def as_json(self) -> dict[str, Any]:
        """For ``--json``: percentiles instead of samples."""
        return {
            "tier": self.tier,
            "name": self.name,
            "samples": len(self.samples),
            "ns": self.percentiles,
            "idle_ns": {gap: percentiles(samples) for gap, samples in self.idle.items()},
            "promise": self.promise or None,
            "limits_ns": dict(self.limits),
            "broken": list(self.broken),
        }


def times_floor(floor: Sequence[float], factor: float, *names: str) -> dict[str, float]:
    """Limits relative to what the same run measured of the floor."""
    found = percentiles(floor)
    return {name: factor * found[name] for name in names}
