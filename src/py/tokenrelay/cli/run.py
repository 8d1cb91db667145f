"""``tokenrelay run``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from tokenrelay.cli.options import ConfigOption, read_config
from tokenrelay.cli.output import note
from tokenrelay.cli.sender import end_running


def run(
    context: typer.Context,
    *,
    once: Annotated[
        bool, typer.Option("--once", help="Refresh, deliver to who listens now, and end.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="End the sender that runs, and take over from it.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Keep all tokens valid and all receivers fed.

    Logs to standard error; ends with SIGTERM or Ctrl-C, reads the configuration again on SIGHUP.
    With --once the exit code tells how it went: 4 a login is needed, 5 nobody received.

    \b
    Example:
      tokenrelay run
      tokenrelay run --once
      tokenrelay run --replace
    """
    import anyio

    from tokenrelay.sender.logs import configure_logs
    from tokenrelay.sender.service import Service

    # All that can fail comes before the end of the sender that works.
    chosen = read_config(context, config)
    configure_logs(log_format=chosen.sender.log_format, level=chosen.sender.log_level)
    first = min(chosen.accounts)

    def tell_next() -> None:
        # Where a person reads, not a log.
        if sys.stderr.isatty():
            note(f"Next: tokenrelay listen {first} (in another terminal)")

    if replace:
        end_running()
    raise typer.Exit(anyio.run(lambda: Service(chosen).run(once=once, ready=tell_next)))
