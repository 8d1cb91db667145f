"""``tokenrelay status``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tokenrelay.cli.options import ConfigOption, JsonOption, read_config
from tokenrelay.cli.output import write_json
from tokenrelay.cli.sender import ask
from tokenrelay.sender.errors import LoginNeeded, VaultError

if TYPE_CHECKING:
    from tokenrelay.sender.config import Account

WATCH_SECONDS = 1.0


def status(
    context: typer.Context,
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Go on until Ctrl-C.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show accounts, receivers and the time left.

    The time left is that of the access token and, where known, of the login.
    Where no sender runs it tells what the token files hold, and still ends with 0; in JSON
    "sender" is null then.

    \b
    Example:
      tokenrelay status --watch
      tokenrelay status --json | jq -e '.sender != null'
    """
    if watch:
        _watch(context, config, as_json=as_json)
    elif as_json:
        write_json(_collect(context, config))
    else:
        from rich.console import Console

        from tokenrelay.cli.status_view import render

        Console().print(render(_collect(context, config), time.time()))


def _watch(context: typer.Context, config: Path | None, *, as_json: bool) -> None:
    from rich.console import Console
    from rich.live import Live

    from tokenrelay.cli.status_view import render

    console = Console()
    with Live(console=console, auto_refresh=False, screen=console.is_terminal) as live:
        while True:
            found = _collect(context, config)
            if as_json:
                write_json(found)
            elif console.is_terminal:
                live.update(render(found, time.time()), refresh=True)
            else:
                console.print(render(found, time.time()))
            time.sleep(WATCH_SECONDS)


def _collect(context: typer.Context, option: Path | None) -> dict[str, Any]:
    """The running sender's status, else the same shape made from the token files."""
    reply = ask("status")
    if reply is not None:
        accounts = reply.pop("accounts")
        return {"sender": reply, "accounts": accounts}
    configured = read_config(context, option).accounts.values()
    return {"sender": None, "accounts": [_read_account(account) for account in configured]}


def _read_account(account: Account) -> dict[str, Any]:
    from tokenrelay.sender import warnings
    from tokenrelay.sender.attempt import login_end
    from tokenrelay.sender.tokens import describe_token
    from tokenrelay.sender.vault import Vault

    vault = Vault.of(account)
    token, error = None, None
    try:
        token = vault.load()
    except VaultError as problem:
        error = str(problem)
    if token is None and error is None:
        error = str(LoginNeeded(account.name, f"there is no token file {vault.path}"))
    end = None if token is None else login_end(token, account)
    plan = None if token is None else warnings.plan_for(account, token, end)
    return {
        "name": account.name,
        "phase": "no sender",
        "token": token and describe_token(token),
        "granted_at": None if token is None else token.granted_at,
        "grant_expires_at": end,
        "login_warning": warnings.describe(account.name, plan, time.time()),
        "last_refresh_at": None,
        "next_refresh_at": None,
        "refreshes": 0,
        "failures": 0,
        "last_error": error,
        "receivers": [],
    }
