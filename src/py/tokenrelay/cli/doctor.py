"""``tokenrelay doctor``."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from tokenrelay.cli.options import ConfigOption, JsonOption, config_path
from tokenrelay.cli.output import counted, write, write_json

if TYPE_CHECKING:
    from tokenrelay.cli.diagnosis.findings import Finding, Level

MARKS = {
    "ok": ("ok     ", typer.colors.GREEN),
    "warning": ("warning", typer.colors.YELLOW),
    "fault": ("FAULT  ", typer.colors.RED),
}


def doctor(
    context: typer.Context,
    *,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Check everything, and say what mends it.

    Paths and their modes, who holds a lock, sockets left behind, the clock and the certificate of
    each provider, callbacks, logins, the systemd unit. Changes nothing. Ends with 1 if there is a
    fault.

    \b
    Example:
      tokenrelay doctor
      tokenrelay doctor --json | jq -r '.findings[] | select(.level == "fault") | .cure'
    """
    from tokenrelay.cli.diagnosis.checks import check
    from tokenrelay.cli.diagnosis.gather import gather

    findings = check(gather(config_path(context, config).absolute()))
    levels = Counter(finding.level for finding in findings)
    if as_json:
        write_json({"findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            _print(finding)
        write(f"\n{_summary(levels)}")
    raise typer.Exit(1 if levels["fault"] else 0)


def _summary(levels: Counter[Level]) -> str:
    if levels.keys() == {"ok"}:
        return "Nothing is wrong."
    faults, warnings = counted(levels["fault"], "fault"), counted(levels["warning"], "warning")
    return f"{counted(levels.total(), 'check')}: {faults}, {warnings}"


def _print(finding: Finding) -> None:
    mark, colour = MARKS[finding.level]
    if sys.stdout.isatty():
        mark = typer.style(mark, fg=colour, bold=True)
    write(f"{mark}  {finding.subject}: {finding.text}")
    if finding.cure is not None:
        write(f"         {finding.cure}")
