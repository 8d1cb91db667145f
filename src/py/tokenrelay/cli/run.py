"""``tokenrelay run``."""

from __future__ import annotations

import sys
from typing import Annotated, TextIO, cast

import typer

from tokenrelay.cli.options import ConfigOption, read_config
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

    Logs to standard error; reads the configuration again on SIGHUP. SIGTERM or Ctrl-C ends it
    within a second, or once a provider that was asked has answered; a second one ends it at once.
    With --once the exit code tells how it went: 4 a login is needed, 5 nobody received.

    \b
    Example:
      tokenrelay run
      tokenrelay run --once
      tokenrelay run --replace
    """
    import anyio

    from tokenrelay.sender.log_stream import QueuedStream
    from tokenrelay.sender.logs import configure_logs
    from tokenrelay.sender.service import Service

    # Before the end of the sender that works; its sockets can be had only after.
    chosen = read_config(context, config)
    stream = QueuedStream(sys.stderr.fileno(), sys.stderr.encoding)
    configure_logs(
        log_format=chosen.sender.log_format,
        level=chosen.sender.log_level,
        stream=cast("TextIO", stream),
    )
    service = Service(chosen, last_words=stream.close)
    first = min(chosen.accounts)

    def tell_next() -> None:
        # Where a person reads, not a log.
        if stream.isatty():
            print(f"Next: tokenrelay listen {first} (in another terminal)", file=stream, flush=True)

    if replace:
        end_running()
    try:
        code = anyio.run(lambda: service.run(once=once, ready=tell_next))
    finally:
        stream.close()  # before what else is said
    raise typer.Exit(code)
