"""The report in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from .figures import QUANTILES, percentiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .figures import Figure
    from .tiers import Report

GAPS = ("20 ms idle", "1 s idle")  # as tiers.py names them


def render(report: Report) -> RenderableType:
    """Tables, notes and the verdict."""
    waits = [figure for figure in report.figures if not figure.is_read]
    reads = [figure for figure in report.figures if figure.is_read]
    parts: list[RenderableType] = [
        _table("µs, hot; beside it p50 after idle gaps; floors in C", waits, scale=1e3, gaps=GAPS),
        Text(),
        _table("ns a read, each a mean over a batch", reads, scale=1.0, gaps=()),
        Text(),
        *(Text(note) for note in report.notes),
        Text(
            "publish and callbacks: from the last byte read. delivery: from the begin of the "
            "sender's send. A busy interpreter delays Python callbacks by its switch interval "
            "(5 ms), and nothing else.",
            style="dim",
        ),
    ]
    return Group(*parts, _verdict(report))


def _table(title: str, figures: Sequence[Figure], *, scale: float, gaps: Sequence[str]) -> Table:
    table = Table(
        title=title, title_justify="left", title_style="bold", box=None, padding=(0, 1, 0, 0)
    )
    table.add_column("", no_wrap=True)
    # Short headings and names: in 80 columns, room is left for the promise.
    for heading in (*QUANTILES, *(gap.removesuffix(" idle") for gap in gaps)):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("promise")
    tier = ""
    for figure in figures:
        if figure.tier != tier:
            tier = figure.tier
            table.add_row(Text(tier, style="bold"))
        table.add_row(
            f"  {figure.name}",
            *_percentiles(figure, scale),
            *(_idle(figure, gap, scale) for gap in gaps),
            _promise(figure),
            style="dim" if figure.is_floor else None,
        )
    return table


def _idle(figure: Figure, gap: str, scale: float) -> str:
    if gap not in figure.idle:
        return ""
    return _short(percentiles(figure.idle[gap])["p50"] / scale)


def _short(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"


def _percentiles(figure: Figure, scale: float) -> list[Text]:
    broken = figure.broken
    return [
        Text(_short(value / scale), style="bold red" if name in broken else "")
        for name, value in figure.percentiles.items()
    ]


def _promise(figure: Figure) -> Text:
    if not figure.promise:
        return Text("")
    if figure.broken:
        return Text(f"✗ {figure.promise}", style="bold red")
    return Text(f"✓ {figure.promise}", style="green")


def _verdict(report: Report) -> Text:
    if report.kept:
        return Text("\nEvery promise is kept.", style="bold green")
    broken = [f"{f.tier} ({f.name}) at {', '.join(f.broken)}" for f in report.figures if f.broken]
    return Text(
        f"\nBroken: {'; '.join(broken)}. Is the machine busy? Try again when it is quiet.",
        style="bold red",
    )
