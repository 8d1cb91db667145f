"""Asking the running sender."""

from __future__ import annotations

from typing import Any

ANSWER_SECONDS = 5.0


def ask(command: str, *, timeout: float = ANSWER_SECONDS, **fields: Any) -> dict[str, Any] | None:
    """The running sender's answer; None where none runs. SenderError where it refuses."""
    from tokenrelay.sender import control

    reply = control.call({"command": command, **fields}, timeout=timeout)
    return None if reply is None else control.checked(reply)
