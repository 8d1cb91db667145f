"""``tokenrelay show``."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tokenrelay.cli.options import AccountArgument, ConfigOption, JsonOption, read_config
from tokenrelay.cli.output import duration, write, write_json
from tokenrelay.cli.sender import ask, ask_about
from tokenrelay.sender.errors import CredentialsMissing, LoginNeeded, SenderError

if TYPE_CHECKING:
    from tokenrelay.sender.config import Account

SHOWN = ("access_token", "expires_at", "serial", "scope", "grant_expires_at")


def show(
    context: typer.Context,
    *,
    account: AccountArgument = None,
    header: Annotated[bool, typer.Option("--header", help="As 'Authorization: Bearer …'.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Print the current access token, for scripts.

    Asks the running sender, else reads the token file. Never prints one that has expired.

    \b
    Example:
      tokenrelay show schwab --header | curl -H @- https://api.example.com/quotes/
    """
    name, token = _find(context, config, account)
    left = token["expires_at"] - time.time()
    if left <= 0:
        raise SenderError(
            f"{name}: the token expired {duration(-left)} ago. "
            f"Refresh it: tokenrelay refresh {name}"
        )
    if as_json:
        write_json({"account": name, **token, "expires_in": round(left, 3)})
    else:
        write(f"{'Authorization: Bearer ' if header else ''}{token['access_token']}")


def _find(
    context: typer.Context, option: Path | None, account: str | None
) -> tuple[str, dict[str, Any]]:
    meant = _meant(context, option, account)
    if meant is None:
        name, reply = str(account), ask("token", account=account)
    else:
        name, reply = meant.name, ask_about(meant, "token")
    if reply is not None:
        return name, {key: reply.get(key) for key in SHOWN} | {"source": "sender"}
    from tokenrelay.sender.vault import Vault

    chosen = read_config(context, option).select(name)
    path = chosen.token_file
    token = Vault.of(chosen).load()
    if token is None:
        raise LoginNeeded.of(name, f"there is no token file {path}")
    return name, {key: getattr(token, key) for key in SHOWN} | {"source": "file"}


def _meant(context: typer.Context, option: Path | None, account: str | None) -> Account | None:
    """The account in the configuration; None where a name is all that is given: whoever runs a
    sender may ask it for that without being able to read its configuration."""
    named = option or context.obj
    if account is not None and not named and "TOKENRELAY_CONFIG" not in os.environ:
        return None
    try:
        return read_config(context, option).select(account)
    except CredentialsMissing:
        if named or account is None:
            raise
        return None
