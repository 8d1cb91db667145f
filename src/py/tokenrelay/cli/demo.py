"""``tokenrelay demo``."""

from __future__ import annotations

from typing import Annotated

import typer

from tokenrelay.cli.options import JsonOption
from tokenrelay.cli.output import note


def demo(
    *,
    seconds: Annotated[
        int,
        typer.Option("--seconds", metavar="NUMBER", min=12, max=3600, help="How long it runs."),
    ] = 30,
    as_json: JsonOption = False,
) -> None:
    """See the whole system work, with no account.

    A provider on loopback whose tokens live 10 seconds, one sender, three programs that
    receive (one is killed and restarted) and an API that refuses any token unknown, expired or
    revoked. Ends by itself, with exit code 0 only if no call was refused.

    \b
    Example:
      tokenrelay demo
      tokenrelay demo --seconds 60 --json
    """
    from tokenrelay.demo.run import run_demo

    code = run_demo(seconds, as_json=as_json)
    if code == 0 and not as_json:
        note("Next: tokenrelay init (your own account)")
    raise typer.Exit(code)
