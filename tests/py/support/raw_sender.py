"""A sender of raw frames, as plain as the wire allows."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from tokenrelay import TokenReceiver

FAR_FUTURE = 4_102_444_800  # 2100
PATIENCE = 20.0  # s until a test gives up on an event that must come


class Sender:
    """One connection to a receiver."""

    def __init__(self, receiver: TokenReceiver | str) -> None:
        path = receiver if isinstance(receiver, str) else receiver.path
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE)
        self._socket.connect(path)
        self._lines = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._socket.close()

    def send(self, access_token: str, **fields: Any) -> dict[str, Any]:
        """Deliver a token and return the answer."""
        self.send_line(
            json.dumps({"expires_at": FAR_FUTURE, "access_token": access_token} | fields)
        )
        return self.next_line()

    def send_line(self, text: str) -> None:
        self._socket.sendall(text.encode() + b"\n")

    def next_line(self) -> dict[str, Any]:
        line: dict[str, Any] = json.loads(self._lines.readline())
        return line

    def at_end(self) -> bool:
        return self._lines.readline() == b""


def deliver(receiver: TokenReceiver | str, access_token: str, **fields: Any) -> dict[str, Any]:
    """Connect, deliver one token, return the answer."""
    with Sender(receiver) as sender:
        return sender.send(access_token, **fields)
