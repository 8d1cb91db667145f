"""``tokenrelay run``."""

from __future__ import annotations

from typing import Annotated

import typer

from tokenrelay.cli.options import ConfigOption, read_config


def run(
    context: typer.Context,
    *,
    once: Annotated[
        bool, typer.Option("--once", help="Refresh, deliver to who listens now, and end.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Keep all tokens valid and all receivers fed.

    Logs to standard error; ends with SIGTERM or Ctrl-C. With --once the exit code tells how it
    went: 4 a login is needed, 5 nobody received.

    \b
    Example:
      tokenrelay run
      tokenrelay run --once
    """
    import anyio

    from tokenrelay.sender.logs import configure_logs
    from tokenrelay.sender.service import Service

    chosen = read_config(context, config)
    configure_logs(log_format=chosen.sender.log_format, level=chosen.sender.log_level)
    raise typer.Exit(anyio.run(lambda: Service(chosen).run(once=once)))
