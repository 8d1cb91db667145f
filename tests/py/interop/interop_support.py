"""Schwab's API and token endpoint, as far as the clients from PyPI need them, on loopback."""

from __future__ import annotations

import json
import socket
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from tokenrelay import TokenReceiver

API_KEY, APP_SECRET = "k" * 32, "s" * 16
ACCOUNTS = [{"accountNumber": "12345678", "hashValue": "the-hash"}]
CALLBACK = "https://127.0.0.1:8182"


class Schwab(ThreadingHTTPServer):
    """Takes only the newest token it granted; each grant ends the one before."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.lifetime = 1800
        self.granted = 0
        self.grants: list[str] = []
        self.calls: list[tuple[str, int]] = []

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def token_url(self) -> str:
        return f"{self.origin}/v1/oauth/token"

    @property
    def access_token(self) -> str:
        return f"access-{self.granted}"

    def grant(self) -> dict[str, Any]:
        self.granted += 1
        return {
            "access_token": self.access_token,
            "refresh_token": f"refresh-{self.granted}",
            "id_token": f"id-{self.granted}",
            "expires_in": self.lifetime,
            "token_type": "Bearer",
            "scope": "api",
        }

    def redirect(self, request: Any) -> None:
        """Send an httpx request that was meant for Schwab here."""
        here = urlsplit(self.origin)
        request.url = request.url.copy_with(scheme="http", host=here.hostname, port=here.port)


class _Answer(BaseHTTPRequestHandler):
    server: Schwab

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        if self.path != "/v1/oauth/token":
            self._serve()
            return
        self.server.grants.append(form["grant_type"][0])
        self._send(200, self.server.grant())

    def do_GET(self) -> None:
        self._serve()

    def _serve(self) -> None:
        sent = self.headers.get("Authorization", "")
        status = 200 if sent == f"Bearer {self.server.access_token}" else 401
        self.server.calls.append((sent, status))
        known = status == 200 and self.path.endswith("/accountNumbers")
        self._send(status, ACCOUNTS if known else {})

    def _send(self, status: int, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


class Feeder:
    """A sender of one connection, which tells of refresh requests."""

    def __init__(self, receiver: TokenReceiver) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(20)
        self._socket.connect(receiver.path)
        self._lines = self._socket.makefile("rb")

    def deliver(self, access_token: str, *, expires_in: float = 1800, **fields: Any) -> None:
        frame = {
            "access_token": access_token,
            "expires_at": int(time.time() + expires_in),
            **fields,
        }
        self._socket.sendall(json.dumps(frame).encode() + b"\n")
        reply = self.next_line()
        assert reply["ok"], reply

    def next_line(self) -> dict[str, Any]:
        line: dict[str, Any] = json.loads(self._lines.readline())
        return line

    def close(self) -> None:
        self._lines.close()
        self._socket.close()
