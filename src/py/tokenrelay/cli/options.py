"""Options that several commands share, and the configuration they lead to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tokenrelay.paths import NoHomeError, check_account, config_file

if TYPE_CHECKING:
    from tokenrelay.sender.config import Config

DEFAULT_ACCOUNT = "default"


def _check_account(name: str | None) -> str | None:
    try:
        return None if name is None else check_account(name)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Default: $TOKENRELAY_CONFIG, else ~/.config/tokenrelay/tokenrelay.toml.",
    ),
]
AccountArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="ACCOUNT",
        help="Default: the only configured account, else 'default'.",
        callback=_check_account,
        show_default=False,
    ),
]
AccountOption = Annotated[
    str | None,
    typer.Option(
        "--account",
        metavar="ACCOUNT",
        help="Default: the only configured account, else 'default'.",
        callback=_check_account,
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def config_path(context: typer.Context, option: Path | None) -> Path:
    """The file in use: the command's option, the global one, else the usual places."""
    return config_file(option=option or context.obj)


def read_config(context: typer.Context, option: Path | None) -> Config:
    """The configuration in use. ConfigurationError where it is missing or wrong."""
    from tokenrelay.sender.config import load_config

    return load_config(config_path(context, option))


def read_config_if_any(context: typer.Context, option: Path | None) -> Config | None:
    """As `read_config`; None where nobody asked for a file and none is there."""
    if option or context.obj or _usual_file_is_there():
        return read_config(context, option)
    return None


def _usual_file_is_there() -> bool:
    try:
        return config_file().exists()
    except NoHomeError:
        return False


def choose_account(context: typer.Context, option: Path | None, name: str | None) -> str:
    """The account meant, for a command that works without a configuration too."""
    if name is not None:
        return name
    config = read_config_if_any(context, option)
    return DEFAULT_ACCOUNT if config is None else config.select(None).name
