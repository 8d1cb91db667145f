"""``tokenrelay bench``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tokenrelay.cli.options import JsonOption
from tokenrelay.cli.output import console, note, write_json


def bench(
    *,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot", metavar="FILE", help="Draw the distributions: .png or .svg.", dir_okay=False
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer samples, no long idle gaps: about 5 s.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure the latency promise on this machine, in about 20 s.

    Each tier is timed hot, one frame after the other, beside its floor in the same run. Keep the
    machine quiet meanwhile. Exit code 1 if a promise is broken.

    \b
    Example:
      tokenrelay bench
      tokenrelay bench --plot latency.png
      tokenrelay bench --quick --json
    """
    from tokenrelay.bench import plot as plotting
    from tokenrelay.bench import tiers

    if plot:
        plotting.check()
    report = tiers.run(tiers.QUICK if quick else tiers.Plan())
    if as_json:
        write_json(report.as_json())
    else:
        from tokenrelay.bench.table import render

        console().print(render(report))
    if plot:
        plotting.save(report, plot)
        note(f"plot: {plot}")
    raise typer.Exit(0 if report.kept else 1)
