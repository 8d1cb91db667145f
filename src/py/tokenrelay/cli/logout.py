"""``tokenrelay logout``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from tokenrelay.cli.options import AccountArgument, ConfigOption, read_config
from tokenrelay.cli.output import duration, note, write
from tokenrelay.cli.takeover import tell_sender_of_logout

if TYPE_CHECKING:
    from tokenrelay.sender.config import Account
    from tokenrelay.sender.logout import LoggedOut


def logout(
    context: typer.Context,
    *,
    account: AccountArgument = None,
    local: Annotated[
        bool, typer.Option("--local", help="Forget it here, without asking the provider.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """End the login: revoke it at the provider and remove the refresh token here.

    \b
    Example:
      tokenrelay logout schwab
    """
    from functools import partial

    import anyio

    one = read_config(context, config).select(account)
    done = anyio.run(partial(_log_out, one, revoke=not local))
    if done.removed:
        tell_sender_of_logout(one)
    _report(one, done, local=local)


async def _log_out(account: Account, *, revoke: bool) -> LoggedOut:
    from tokenrelay.sender.logout import log_out
    from tokenrelay.sender.oauth import TokenEndpoint
    from tokenrelay.sender.vault import Vault

    vault = Vault.of(account)
    return await log_out(account, TokenEndpoint(account), vault, revoke=revoke)


def _report(account: Account, done: LoggedOut, *, local: bool) -> None:
    if not done.removed:
        write(f"{account.name}: no login is stored; nothing to do")
    elif done.revoked:
        write(
            f"{account.name}: logged out; the provider revoked the login, and it was removed here"
        )
    else:
        write(f"{account.name}: the login was removed from {account.token_file}")
        why = "was not asked" if local else "offers no revocation (no revoke_url is known)"
        note(
            f"The provider {why}: there the login lives until its own end. Whoever has a copy can "
            "use it; end it in your account's settings at the provider."
        )
    left = done.token.expires_at - time.time() if done.token else 0
    if done.removed and left > 0:
        note(
            f"The access token that programs hold may work for another {duration(left)}; nothing "
            f"refreshes it. To log in again: tokenrelay login {account.name}"
        )
