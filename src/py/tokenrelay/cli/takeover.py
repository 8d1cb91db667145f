"""Telling a running sender of a login or a logout."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tokenrelay.cli.output import counted
from tokenrelay.cli.sender import ServedElsewhereError, ask, ask_about, find_served
from tokenrelay.sender.errors import SenderError

if TYPE_CHECKING:
    from tokenrelay.sender.config import Account
    from tokenrelay.sender.tokens import TokenSet

# A sender without a login looks for one each second, by itself.
PATIENCE_SECONDS, POLL_SECONDS = 3.0, 0.1
WAITING_PHASES = ("login_needed", "lost_rotation")
START_ONE = "Next: tokenrelay run (no sender runs)"
BY_ITSELF = "A running sender takes it up by itself within 30 s; see: tokenrelay status"


def tell_sender(account: Account, token: TokenSet) -> str:
    """Has the running sender serve ``token`` now; returns what to tell the user."""
    try:
        return _tell(account, token)
    except ServedElsewhereError as error:
        return f"It is not served: {error}"
    except SenderError:
        # The login is saved, whatever the sender is busy with.
        return BY_ITSELF


def tell_sender_of_logout(account: Account) -> None:
    """Has the running sender, if there is one, notice that it can refresh no more."""
    # Where it noticed already, it refuses: just as well.
    with suppress(SenderError):
        ask_about(account, "refresh")


def _tell(account: Account, token: TokenSet) -> str:
    deadline, asked = time.monotonic() + PATIENCE_SECONDS, False
    while (found := _find(account)) is not None:
        if found["token"] is not None and found["token"]["serial"] >= token.serial:
            count = sum(bool(one["connected"]) for one in found["receivers"])
            return f"The running sender serves it: {counted(count, 'receiver')} connected"
        if not asked and found["token"] is not None and found["phase"] not in WAITING_PHASES:
            # It adopts what is newer in the token file and asks the provider for nothing.
            ask("refresh", account=account.name)
            asked = True
        if time.monotonic() > deadline:
            return BY_ITSELF
        time.sleep(POLL_SECONDS)
    return START_ONE


def _find(account: Account) -> dict[str, Any] | None:
    found = find_served(account)
    if found is None and ask("status") is not None:
        raise SenderError(f"the running sender does not know {account.name}")
    return found
