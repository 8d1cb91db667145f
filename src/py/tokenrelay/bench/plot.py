"""The picture: latency against percentile, each further nine as wide as the one before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenrelay.errors import TokenRelayError

if TYPE_CHECKING:
    from pathlib import Path

    from .tiers import Report

TICKS = {"p0": 0.0, "p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "p99.99": 0.9999}
PROMISE_US = 10.0


class MissingLibraryError(TokenRelayError):
    """matplotlib is missing."""


def check() -> None:
    """MissingLibraryError, before anything is measured."""
    try:
        import matplotlib  # noqa: PLC0415 (an extra)
    except ImportError:
        raise MissingLibraryError(
            "--plot needs matplotlib: pip install 'tokenrelay[plot]', or leave --plot out"
        ) from None
    matplotlib.use("Agg")


def save(report: Report, path: Path) -> None:
    """Write the figures in microseconds as an image; its kind by the file's name."""
    from matplotlib import pyplot  # noqa: PLC0415

    figure, axes = pyplot.subplots(figsize=(9, 5), layout="constrained")
    for of in report.figures:
        if of.is_read or of.name.endswith("busy"):
            continue
        ordered = sorted(of.samples)
        count = len(ordered)
        axes.plot(
            [count / (count - index) for index in range(count)],
            [value / 1e3 for value in ordered],
            label=f"{of.tier}, {of.name}",
            linestyle="--" if of.is_floor else "-",
            linewidth=1.2 if of.is_floor else 2,
        )
    axes.axhline(PROMISE_US, color="black", linestyle=":", linewidth=1)
    axes.annotate("10 µs", (1.05, PROMISE_US * 1.08))
    axes.set(xscale="log", yscale="log", xlabel="percentile", ylabel="µs")
    axes.set_title("tokenrelay: latency of a new token, hot", loc="left")
    axes.set_xticks([1 / (1 - share) for share in TICKS.values()], list(TICKS))
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.savefig(path, dpi=90)
    pyplot.close(figure)
