"""Latency against percentile, both on scales that show the tail, with the 10 µs line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

PROMISE_US = 10.0
TICKS = {"p0": 0.0, "p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "p99.99": 0.9999}


def latency_plots(
    raw: Mapping[str, Mapping[str, Mapping[str, Sequence[int]]]],
    gaps: Sequence[str],
    directory: Path,
    suite: str,
) -> None:
    """One picture a gap. Says so and does nothing where matplotlib is missing."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        print("no plots: pip install matplotlib")
        return
    for gap in gaps:
        series = {name: of[gap]["delivery_ns"] for name, of in raw.items() if of.get(gap)}
        if series:
            plot(
                pyplot,
                series,
                f"{suite}, {gap}",
                directory / f"{suite}-{gap.replace(' ', '-')}.png",
            )


def plot(pyplot: Any, series: Mapping[str, Sequence[int]], title: str, path: Path) -> None:
    figure, axes = pyplot.subplots(figsize=(11, 6.5), layout="constrained")
    for number, (name, samples) in enumerate(series.items()):
        ordered = sorted(samples)
        total = len(ordered)
        # 1 / (1 - p): each further nine of the percentile is as wide as the one before.
        places = [total / (total - index) for index in range(total)]
        ours = "tokenrelay" in name
        axes.plot(
            places,
            [value / 1e3 for value in ordered],
            label=name,
            linewidth=2.5 if ours else 1.2,
            linestyle="-" if number < 10 else "--",
        )
    axes.axhline(PROMISE_US, color="black", linestyle=":", linewidth=1)
    axes.annotate("10 µs", (1.02, PROMISE_US * 1.05))
    axes.set(xscale="log", yscale="log", xlabel="percentile", ylabel="µs", title=title)
    axes.set_xticks([1 / (1 - rank) for rank in TICKS.values()], list(TICKS))
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
