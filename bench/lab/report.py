"""Tables for people, raw samples for whoever doubts them."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

from lab.statistics import Percentiles, delivery_ns, own_ns, percentiles, publish_ns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from lab.conductor import Result
    from lab.rows import Row

COLUMNS = ("n", "p50", "p90", "p99", "p99.9", "max")


def line(name: str, figures: Percentiles, *, scale: float = 1e3, ratio: str = "") -> str:
    values = (figures.p50, figures.p90, figures.p99, figures.p999, figures.max)
    cells = " ".join(f"{value / scale:>9.2f}" for value in values)
    return f"{name:<48} {figures.count:>7} {cells} {ratio}".rstrip()


def heading(title: str, *, ratio: bool = False) -> str:
    cells = " ".join(f"{name:>9}" for name in COLUMNS[1:])
    tail = "   p50, p99 against its floor" if ratio else ""
    return f"\n{title}\n{'':<48} {'n':>7} {cells}{tail}"


def ratio_text(figures: Percentiles, floor: Percentiles | None) -> str:
    if floor is None or floor.p50 == 0 or floor.p99 == 0:
        return ""
    return f"  {figures.p50 / floor.p50:6.2f}x {figures.p99 / floor.p99:6.2f}x"


def delivery_table(result: Result, rows: Sequence[Row], gap: str) -> list[str]:
    figures = {
        name: percentiles(delivery_ns(by_gap[gap]))
        for name, by_gap in result.samples.items()
        if by_gap.get(gap)
    }
    lines = [heading(f"{gap}: send begins to callback entered, µs", ratio=True)]
    for row in rows:
        if row.name in figures:
            ratio = ratio_text(figures[row.name], figures.get(row.floor))
            lines.append(line(row.name, figures[row.name], ratio=ratio))
    return lines


def own_table(result: Result, rows: Sequence[Row], gap: str) -> list[str]:
    """The part that is the receiver's own; rows that do not tell it apart are absent."""
    lines = [heading(f"{gap}: last byte read to callback entered, µs")]
    for row in rows:
        samples = result.samples.get(row.name, {}).get(gap, [])
        own = own_ns(samples)
        if own and any(own):
            lines.append(line(row.name, percentiles(own)))
        if seen := publish_ns(samples):
            lines.append(line(f"{row.name} (visible)", percentiles(seen)))
    return lines


def tables(result: Result, rows: Sequence[Row], gaps: Sequence[str]) -> str:
    lines: list[str] = []
    for gap in gaps:
        lines += delivery_table(result, rows, gap)
        lines += own_table(result, rows, gap)
    lines += [f"left out: {name}: {why}" for name, why in result.left_out.items()]
    return "\n".join(lines)


def raw_samples(result: Result) -> dict[str, Any]:
    return {
        name: {
            gap: {
                "delivery_ns": delivery_ns(samples),
                "own_ns": own_ns(samples),
                "publish_ns": publish_ns(samples),
            }
            for gap, samples in by_gap.items()
        }
        for name, by_gap in result.samples.items()
    }


def save(path: Path, environment: Mapping[str, object], content: Mapping[str, object]) -> None:
    with gzip.open(path, "wt") as file:
        json.dump({"environment": environment, **content}, file)
