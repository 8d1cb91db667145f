"""``tokenrelay init``."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from tokenrelay.cli.options import ConfigOption, config_path
from tokenrelay.cli.output import note, write

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenrelay.cli.init_template import Answers


class Preset(StrEnum):
    """The providers `init` knows a template for."""

    schwab = "schwab"
    generic = "generic"


def _check_preset(name: str) -> None:
    if name not in list(Preset):
        raise ValueError(f"{name!r} is not one of {', '.join(map(repr, map(str, Preset)))}")


def _check_issuer(url: str | None) -> str | None:
    from tokenrelay.sender.config_values import check_endpoint

    try:
        return check_endpoint(url) if url else url
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def init(
    context: typer.Context,
    *,
    provider: Annotated[
        Preset | None,
        typer.Option(
            "--provider",
            metavar="NAME",
            help="schwab or generic. Default: asked; schwab without a terminal.",
        ),
    ] = None,
    issuer: Annotated[
        str | None,
        typer.Option(
            "--issuer", metavar="URL", help="Of a generic provider.", callback=_check_issuer
        ),
    ] = None,
    client_id: Annotated[
        str | None,
        typer.Option("--client-id", metavar="ID", help="What the provider calls your application."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    config: ConfigOption = None,
) -> None:
    """Write a commented configuration file.

    In a terminal it asks for the little that only you know. A secret goes into a file of its own.

    \b
    Example:
      tokenrelay init
      tokenrelay init --provider generic --issuer https://login.example.com --client-id my-bot
    """
    from tokenrelay.cli.init_template import render

    path = config_path(context, config).absolute()
    if not force:
        _check_absent(path, path)
    provider = provider or _ask_provider()
    secret_file = _secret_file(path, provider)
    if not force and sys.stdin.isatty():  # else no secret is asked for
        _check_absent(secret_file, path)
    answers, secret = _ask(secret_file, provider, issuer, client_id)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if secret:
        _write(secret_file, secret + "\n", path, force=force)
    _write(path, render(answers), path, force=force)
    write(str(path))
    _tell_next(path, answers, filled=bool(answers.complete and (secret or answers.public)))


def _ask_provider() -> Preset:
    if not sys.stdin.isatty():
        return Preset.schwab
    return Preset(_prompt("Provider (schwab, generic)", _check_preset))


def _secret_file(path: Path, provider: Preset) -> Path:
    account = "default" if provider is Preset.generic else "schwab"
    return path.with_name(f"{account}.secret")


def _ask(
    secret_file: Path, provider: Preset, issuer: str | None, client_id: str | None
) -> tuple[Answers, str]:
    """What is known now, and the secret."""
    from tokenrelay.cli.init_template import Answers

    asking = sys.stdin.isatty()
    generic = provider is Preset.generic
    if issuer and not generic:
        raise typer.BadParameter("Schwab has none to be named", param_hint="--issuer")
    if asking and generic and issuer is None:
        issuer = _prompt("Issuer, the provider's https:// address", _check_issuer)
    if asking and client_id is None:
        client_id = _prompt("client_id" if generic else "App Key", str)
    secret = ""
    if asking:
        secret = typer.prompt(
            "client_secret (not shown; empty: none)" if generic else "Secret (not shown)",
            default="", hide_input=True, show_default=False, err=True,
        )  # fmt: skip
    answers = Answers(
        provider=provider.value,
        secret_file=str(secret_file),
        client_id=client_id or "",
        issuer=issuer or "",
        public=asking and generic and not secret,
    )
    return answers, secret


def _prompt(question: str, check: Callable[[str], object]) -> str:
    """One line; asked again while `check` raises."""
    while True:
        answer = str(typer.prompt(question, err=True)).strip()
        try:
            check(answer)
        except (ValueError, typer.BadParameter) as error:
            note(str(error))
        else:
            return answer


def _tell_next(path: Path, answers: Answers, *, filled: bool) -> None:
    from tokenrelay.sender.config_text import command_with

    command = command_with(path)
    if not filled:
        note(
            "Written. Fill in the empty values, and put the client's secret into the file that it "
            f"names:\n  ${{EDITOR:-vi}} {quote(str(path))}"
        )
    note(f"The callback to register with the provider, to the letter: {answers.callback}")
    note(f"A login that you have: {command} import FILE --account {answers.account}")
    note(f"Next: {command} login")


def _check_absent(file: Path, config: Path) -> None:
    """SenderError where there is a file; what replaces it is `init` for the configuration."""
    from tokenrelay.sender.config_text import init_command
    from tokenrelay.sender.errors import SenderError

    if file.exists():
        raise SenderError(
            f"{file} is there already and was left as it is. To replace it: "
            f"{init_command(config)} --force"
        )


def _write(file: Path, text: str, config: Path, *, force: bool) -> None:
    if force:
        file.unlink(missing_ok=True)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        _check_absent(file, config)
        raise
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(text)
