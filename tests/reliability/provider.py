"""The provider as a process of its own: ``python -m tests.reliability.provider``.

It prints its port, then answers one JSON line of orders with one of facts. At every refresh it
looks into the client's token file, so that a token sent after the file moved on is seen.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .login import Login, login_of, number_of


@dataclass(slots=True)
class Account:
    """A login, the file its client keeps, and what the provider saw. ``clock`` is what its grace
    is measured by: a check's own, in seconds, or None for the machine's."""

    login: Login
    file: Path
    clock: float | None = None
    superseded: int = 0
    cut_at: int | None = None
    reset: bool = False
    answer_bytes: int = 0


class Provider:
    """Token endpoint and its controls."""

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}

    async def run(self) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        orders = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(orders)
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
        while line := await orders.readline():
            print(json.dumps(self._obey(json.loads(line))), flush=True)

    def _obey(self, order: dict[str, Any]) -> dict[str, Any]:
        name = order["login"]
        match order["order"]:
            case "new":
                self._accounts[name] = Account(Login(name, order["grace"]), Path(order["file"]))
            case "cut":
                self._accounts[name].cut_at = order["at"]
                self._accounts[name].reset = order["reset"]
            case "clock":
                self._accounts[name].clock = order["at"]
        account = self._accounts[name]
        facts = asdict(account.login)
        facts.update(superseded=account.superseded, answer_bytes=account.answer_bytes)
        return facts

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(content_length(head))
            self._answer(body.decode(), writer)
            await writer.drain()
        writer.close()

    def _answer(self, form: str, writer: asyncio.StreamWriter) -> None:
        account = self._accounts[login_of(form)]
        with suppress(OSError):
            account.superseded += number_of(form) < number_of(account.file.read_text())
        now = time.monotonic() if account.clock is None else account.clock
        granted = account.login.refresh(form, now)
        fields = account.login.tokens() if granted else {"error": "invalid_grant"}
        content = json.dumps(fields).encode()
        head = f"HTTP/1.1 {200 if granted else 400} X\r\nContent-Length: {len(content)}\r\n"
        answer = head.encode() + b"Content-Type: application/json\r\n\r\n" + content
        account.answer_bytes = len(answer)
        writer.write(answer[: account.cut_at])
        if account.cut_at is not None and account.reset:
            reset(writer)
        account.cut_at = None


def content_length(head: bytes) -> int:
    for line in head.decode().lower().split("\r\n"):
        if line.startswith("content-length:"):
            return int(line.partition(":")[2])
    return 0


def reset(writer: asyncio.StreamWriter) -> None:
    """Lets the connection end with RST instead of FIN (socket(7), SO_LINGER)."""
    end = writer.get_extra_info("socket")
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


if __name__ == "__main__":
    asyncio.run(Provider().run())
