"""A token endpoint of raw sockets whose answers a test chooses, and a clock that a test sets."""

from __future__ import annotations

import json
import socketserver
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import pytest

from tokenrelay.sender.config import Account
from tokenrelay.sender.tokens import Secret, TokenSet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = 1_700_000_000


@dataclass
class FakeClock:
    """Both clocks stand still until the test moves them; ``naps`` are the sleeps asked for."""

    wall_now: float = NOW
    boot_now: float = 1000.0
    naps: list[float] = field(default_factory=list)

    def wall(self) -> float:
        return self.wall_now

    def boot(self) -> float:
        return self.boot_now

    def advance(self, seconds: float) -> None:
        self.wall_now += seconds
        self.boot_now += seconds


def response(
    status: int, body: bytes | dict[str, Any], *headers: str, length: int | None = None
) -> bytes:
    """An HTTP answer; ``length`` lies about the body's."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    size = len(content) if length is None else length
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {size}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + content


CLOSE = b""


class Provider:
    """Answers what is in ``script`` first; then grants, rotating, and refuses what is spent.

    ``lose``: so many grants are made but their answers never sent. ``grace``: whether the token
    spent last is taken again.
    """

    def __init__(self) -> None:
        self.script: deque[bytes] = deque()
        self.forms: list[dict[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.generation = self.reuses = self.lose = 0
        self.grace = False
        self.lifetime = 1800
        self.hold: threading.Event | None = None
        self.asked = threading.Semaphore(0)
        self._lock = threading.Lock()
        provider = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    if not (byte := self.rfile.readline()):
                        return
                    head += byte
                lines = head.decode().split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
                raw = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
                body = self.rfile.read(int(headers.get("content-length", "0")))
                form = dict(parse_qsl(body.decode()))
                self.wfile.write(provider._answer(lines[0].split()[1], form, raw))

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            request_queue_size = 64

        self._server = Server(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.token_url = f"{self.origin}/token"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def requests(self) -> int:
        return len(self.forms)

    def close(self) -> None:
        if self.hold is not None:
            self.hold.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, path: str, form: dict[str, str], headers: dict[str, str]) -> bytes:
        with self._lock:
            self.paths.append(path)
            self.forms.append(form)
            self.headers.append(headers)
            answer = self.script.popleft() if self.script else self._grant(form)
        self.asked.release()
        if self.hold is not None:
            self.hold.wait(30)
        return answer

    def _grant(self, form: dict[str, str]) -> bytes:
        allowed = {f"refresh-{self.generation}"}
        if self.grace and self.generation:
            allowed.add(f"refresh-{self.generation - 1}")
        if form.get("refresh_token") not in allowed:
            self.reuses += 1
            return response(400, {"error": "invalid_grant", "error_description": "spent"})
        self.generation += 1
        if self.lose:
            self.lose -= 1
            return CLOSE
        return response(200, granted(self.generation, expires_in=self.lifetime))


@pytest.fixture
def provider() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.close()


def granted(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "access_token": f"access-{number}",
        "token_type": "Bearer",
        "expires_in": 1800,
        "refresh_token": f"refresh-{number}",
        **changes,
    }


def account(token_file: Path, token_url: str | None, **changes: Any) -> Account:
    values: dict[str, Any] = {
        "name": "main",
        "provider": "generic",
        "client_id": "the-client",
        "client_secret": Secret("the-secret"),
        "token_url": token_url,
        "issuer": None,
        "authorize_url": None,
        "device_url": None,
        "revoke_url": None,
        "redirect_uri": None,
        "scopes": (),
        "client_auth": "basic",
        "pkce": True,
        "token_file": token_file,
        "refresh_every": None,
        "rotation_grace": 10.0,
        "timeout": 5.0,
        "token_lifetime": 1800.0,
        "login_lifetime": None,
        "sockets": (),
        "include_refresh_token": False,
        "allow_listener_uids": (),
        "mirror": (),
        "warn_before_login_ends": (),
        "warn_at": (),
        "on_event": (),
    }
    return Account(**{**values, **changes})


def stored(number: int = 0, **changes: Any) -> TokenSet:
    """A token as an import leaves it, issued at ``NOW``."""
    values: dict[str, Any] = {
        "access_token": f"access-{number}",
        "refresh_token": f"refresh-{number}",
        "expires_at": NOW + 1800,
        "issued_at": NOW,
        "granted_at": NOW,
    }
    return TokenSet(**{**values, **changes})
