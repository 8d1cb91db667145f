"""``tokenrelay refresh``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import typer

from tokenrelay.cli.options import AccountArgument, ConfigOption, JsonOption, read_config
from tokenrelay.cli.output import duration, note, write, write_json
from tokenrelay.cli.sender import ask_about

if TYPE_CHECKING:
    from tokenrelay.sender.config import Account, Config
    from tokenrelay.sender.tokens import TokenSet

PATIENCE_SECONDS = 60.0


def refresh(
    context: typer.Context,
    *,
    account: AccountArgument = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Refresh now.

    The running sender does it and feeds its receivers; where none runs, this command does it.

    \b
    Example:
      tokenrelay refresh schwab
    """
    chosen = read_config(context, config)
    one = chosen.select(account)
    reply = ask_about(one, "refresh", timeout=one.timeout + PATIENCE_SECONDS)
    if reply is None:
        reply = _refresh_here(chosen, one)
        note("No sender runs, so nobody was sent the new token. Start one: tokenrelay run")
    serial, expires_at = reply["serial"], reply["expires_at"]
    if as_json:
        write_json({"account": one.name, "serial": serial, "expires_at": expires_at})
    else:
        left = duration(expires_at - time.time())
        write(f"{one.name}: refreshed; the new token is valid for {left}")


def _refresh_here(config: Config, account: Account) -> dict[str, Any]:
    import anyio

    from tokenrelay.sender.logs import configure_logs

    configure_logs(log_format=config.sender.log_format, level="warning")
    token = anyio.run(_refresh_once, account)
    return {"serial": token.serial, "expires_at": token.expires_at}


async def _refresh_once(account: Account) -> TokenSet:
    from random import SystemRandom

    from tokenrelay.sender.clock import SystemClock
    from tokenrelay.sender.logs import get_log
    from tokenrelay.sender.mirror import Mirror
    from tokenrelay.sender.oauth import TokenEndpoint
    from tokenrelay.sender.refresher import Refresher
    from tokenrelay.sender.vault import Vault

    clock, log = SystemClock(), get_log()
    mirror = Mirror(account.mirror, include_refresh_token=account.include_refresh_token, log=log)
    refresher = Refresher(
        account,
        Vault.of(account),
        TokenEndpoint(account, clock=clock),
        publish=mirror.publish,
        clock=clock,
        random=SystemRandom(),
        log=log,
    )
    token = await refresher.refresh_now(reason="command line")
    await mirror.write()
    return token
