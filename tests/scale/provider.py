"""A provider of many logins that fails now and then: ``python -m tests.scale.provider``.

Refresh tokens rotate and are called ``ACCOUNT.GENERATION``; the one before the newest is taken
for ten seconds more. It prints its two ports, one that answers and one that never does, and after
the end of its input what it saw.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from urllib.parse import parse_qs

GRACE_SECONDS = 10.0
# What fails: an error, an overload, silence, a connection closed before the work and after it.
FAULTS = ("error", "overload", "silence", "closed before", "answer lost")


@dataclass(slots=True)
class Login:
    """One account's refresh tokens."""

    generation: int = 0
    rotated_at: float = float("-inf")
    ages: list[float] = field(default_factory=list)

    def refresh(self, generation: int, now: float) -> bool:
        """Whether the provider takes this one; then there is a newer one."""
        late = now - self.rotated_at
        if generation != self.generation and (
            generation != self.generation - 1 or late > GRACE_SECONDS
        ):
            return False
        if generation == self.generation:
            self.ages.append(late)
            self.generation, self.rotated_at = generation + 1, now
        return True


class Provider:
    """The token endpoint."""

    def __init__(self, *, life: int, fail: float, seed: int) -> None:
        self._life, self._fail, self._random = life, fail, Random(seed)
        self._logins: dict[str, Login] = {}
        self._seen: Counter[str] = Counter()

    async def run(self) -> None:
        """Serve until standard input ends."""
        healthy = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=4096)
        dead = await asyncio.start_server(self._ignore, "127.0.0.1", 0, backlog=4096)
        ports = [server.sockets[0].getsockname()[1] for server in (healthy, dead)]
        print(json.dumps({"event": "ready", "ports": ports}), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        ages = sorted(age for login in self._logins.values() for age in login.ages[1:])
        print(json.dumps({"event": "end", "seen": self._seen, "ages": ages}), flush=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.partition("content-length:")[2].partition("\r\n")[0])
            form = parse_qs((await reader.readexactly(length)).decode())
            await self._answer(form["refresh_token"][0], writer)
            await writer.drain()
        writer.close()

    async def _ignore(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._seen["requests to the dead port"] += 1
        with suppress(ConnectionError):
            await reader.read(-1)
        writer.close()

    async def _answer(self, refresh_token: str, writer: asyncio.StreamWriter) -> None:
        self._seen["requests"] += 1
        fault = None
        if self._random.random() < self._fail:
            fault = self._random.choice(FAULTS)
            self._seen[fault] += 1
        match fault:
            case "error":
                writer.write(_response(500, {"error": "server_error"}))
            case "overload":
                writer.write(_response(503, {}, "Retry-After: 1\r\n"))
            case "silence":
                await asyncio.sleep(3600)
            case "closed before":
                pass
            case "answer lost":
                self._grant(refresh_token)
            case _:
                writer.write(self._grant(refresh_token))

    def _grant(self, refresh_token: str) -> bytes:
        account, _, generation = refresh_token.rpartition(".")
        login = self._logins.setdefault(account, Login())
        now = time.monotonic()
        if not login.refresh(int(generation), now):
            self._seen["refused for good"] += 1
            return _response(400, {"error": "invalid_grant"})
        self._seen["granted"] += 1
        name = f"{account}.{login.generation}"
        return _response(
            200,
            {
                "access_token": f"access.{name}",
                "refresh_token": name,
                "expires_in": self._life,
                "token_type": "Bearer",
            },
        )


def _response(status: int, body: dict[str, object], headers: str = "") -> bytes:
    content = json.dumps(body).encode()
    head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(content)}\r\n{headers}"
    return head.encode() + b"Content-Type: application/json\r\n\r\n" + content


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--life", type=int, required=True)
    parser.add_argument("--fail", type=float, required=True)
    parser.add_argument("--seed", type=int, default=1)
    asyncio.run(Provider(**vars(parser.parse_args())).run())


if __name__ == "__main__":
    main()
