"""Puts the commands together and turns expected errors into a line and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

from tokenrelay.cli import (
    bench,
    demo,
    doctor,
    import_,
    init,
    listen,
    login,
    logout,
    refresh,
    send,
    service,
    show,
    status,
)
from tokenrelay.cli import run as run_command
from tokenrelay.cli.options import ConfigOption
from tokenrelay.errors import TokenRelayError
from tokenrelay.paths import NoHomeError, config_file
from tokenrelay.sender.errors import ConfigurationError, SenderError

# Plain help: it prints in half the time of the boxed one and survives copy, paste and pipes.
app: typer.Typer = typer.Typer(
    name="tokenrelay",
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

STANDARD_ERROR = 2

COMMANDS: dict[str, Callable[..., None]] = {
    "bench": bench.bench,
    "demo": demo.demo,
    "init": init.init,
    "login": login.login,
    "logout": logout.logout,
    "import": import_.import_file,
    "run": run_command.run,
    "refresh": refresh.refresh,
    "send": send.send,
    "listen": listen.listen,
    "show": show.show,
    "status": status.status,
    "doctor": doctor.doctor,
}
for _name, _function in COMMANDS.items():
    app.command(_name)(_function)
app.add_typer(service.app, name="service")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"tokenrelay {version('tokenrelay')}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    *,
    config: ConfigOption = None,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Every program on this host always holds a valid OAuth access token.

    See it work, with no account and no configuration: tokenrelay demo

    \b
    Exit codes: 0 done, 1 failed, 2 usage, 3 configuration, 4 a login is needed,
    5 nobody received.
    """
    context.obj = config
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        there = config_file(option=config).exists()
        typer.echo(f"\nNext: tokenrelay {'status' if there else 'init'}")


def run() -> int:
    """Run the command in ``sys.argv``; return the exit code."""
    _open_standard_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # A terminal that is not UTF-8 shows "?" for what it lacks.
            stream.reconfigure(errors="replace")
    try:
        app(prog_name="tokenrelay")
    except SystemExit as end:
        return _code(end)
    except SenderError as error:
        return _complain(str(error), error.exit_code)
    except NoHomeError as error:
        return _complain(str(error), ConfigurationError.exit_code)
    except OSError as error:
        return _complain(_describe(error), 1)
    except TokenRelayError as error:
        return _complain(str(error), 1)
    return 0


def _open_standard_streams() -> None:
    """Those that the program was started without (``2>&-``) lead nowhere: the next file that is
    opened must not get their numbers, and with them what is printed."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= STANDARD_ERROR:
        pass
    os.close(descriptor)
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def _code(end: SystemExit) -> int:
    if isinstance(end.code, str):
        return _complain(end.code, 1)
    return end.code or 0


def _complain(text: str, code: int) -> int:
    print(f"tokenrelay: {text}", file=sys.stderr)
    return code


def _describe(error: OSError) -> str:
    if error.strerror is None:
        return str(error)
    name = Path(str(error.filename)) if error.filename is not None else None
    return f"{name}: {error.strerror}" if name else error.strerror
