"""Asking the running sender."""

from __future__ import annotations

import os
import select
import signal
from typing import Any

ANSWER_SECONDS = 5.0
END_SECONDS = 60.0


def ask(command: str, *, timeout: float = ANSWER_SECONDS, **fields: Any) -> dict[str, Any] | None:
    """The running sender's answer; None where none runs. SenderError where it refuses."""
    from tokenrelay.sender import control

    reply = control.call({"command": command, **fields}, timeout=timeout)
    return None if reply is None else control.checked(reply)


def end_running() -> None:
    """Have the running sender end, and wait until it has; nothing where none runs.

    SenderError where it takes too long: a refresh in flight is finished first.
    """
    from tokenrelay.sender.errors import SenderError

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
