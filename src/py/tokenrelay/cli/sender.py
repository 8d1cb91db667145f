"""Asking the running sender."""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenrelay.sender.errors import SenderError

if TYPE_CHECKING:
    from tokenrelay.sender.config import Account

ANSWER_SECONDS = 5.0
END_SECONDS = 60.0


def ask(command: str, *, timeout: float = ANSWER_SECONDS, **fields: Any) -> dict[str, Any] | None:
    """The running sender's answer; None where none runs. SenderError where it refuses."""
    from tokenrelay.sender import control

    reply = control.call({"command": command, **fields}, timeout=timeout)
    return None if reply is None else control.checked(reply)


class ServedElsewhereError(SenderError):
    """The running sender serves another account of the same name."""

    exit_code = 3


def ask_about(
    account: Account, command: str, *, timeout: float = ANSWER_SECONDS
) -> dict[str, Any] | None:
    """As `ask`, of ``account`` and no other of its name: ServedElsewhereError."""
    find_served(account)
    return ask(command, account=account.name, timeout=timeout)


def find_served(account: Account) -> dict[str, Any] | None:
    """``account`` in the running sender's status; None where it is not there, or none runs.

    ServedElsewhereError: it serves that name from another token file.
    """
    status = ask("status")
    accounts = [] if status is None else status["accounts"]
    found = next((one for one in accounts if one["name"] == account.name), None)
    if status is None or found is None:
        return None
    # A sender of before an upgrade does not tell it.
    served = Path(found.get("token_file", account.token_file))
    if served.resolve() != account.token_file.resolve():
        raise ServedElsewhereError(
            f"the sender that runs (process {status['pid']}) serves {account.name} from {served}, "
            f"not from {account.token_file}: it uses {status['config']}. Use that file and its "
            "TOKENRELAY_STATE_DIR, or have yours served: tokenrelay run --replace"
        )
    return dict(found)


def end_running() -> None:
    """Have the running sender end, and wait until it has; nothing where none runs.

    SenderError where it takes too long: a refresh in flight is finished first.
    """
    status = ask("status")
    if status is None:
        return
    process = os.pidfd_open(status["pid"])
    try:
        signal.pidfd_send_signal(process, signal.SIGTERM)
        ended, _, _ = select.select([process], [], [], END_SECONDS)
    finally:
        os.close(process)
    if not ended:
        raise SenderError(
            f"the running sender, process {status['pid']}, does not end; see its log, then again"
        )
