"""``tokenrelay status``."""

from __future__ import annotations

import time
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tokenrelay.cli.options import ConfigOption, JsonOption, config_path, read_config
from tokenrelay.cli.output import console, note, write_json
from tokenrelay.cli.sender import ask
from tokenrelay.sender.errors import LoginNeeded, VaultError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
    if config or context.obj:
        _tell_of_another(context, config)
    with nullcontext(write_json) if as_json else _screen(watch=watch) as show:
        show(_collect(context, config))
        while watch:
            time.sleep(WATCH_SECONDS)
            show(_collect(context, config))


def _tell_of_another(context: typer.Context, option: Path | None) -> None:
    """A sender that runs is shown, whichever file it uses."""
    path = config_path(context, option)
    if not path.exists():
        read_config(context, option)  # says so
    used = (ask("status") or {}).get("config")
    if used is not None and Path(used).resolve() != path.resolve():
        note(f"The sender that runs uses {used}, not {path}.")


@contextmanager
def _screen(*, watch: bool) -> Iterator[Callable[[dict[str, Any]], None]]:
    """What shows a status to people; watched in a terminal, each in place of the last."""
    from rich.live import Live

    from tokenrelay.cli.status_view import render

    screen = console()
    if not (watch and screen.is_terminal):
        yield lambda found: screen.print(render(found, time.time()))
        return
    with Live(console=screen, auto_refresh=False, screen=True) as live:
        yield lambda found: live.update(render(found, time.time()), refresh=True)


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
        error = str(LoginNeeded.of(account.name, f"there is no token file {vault.path}"))
    end = None if token is None else login_end(token, account)
    plan = None if token is None else warnings.plan_for(account, token, end)
    return {
        "name": account.name,
        "token_file": str(account.token_file),
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
