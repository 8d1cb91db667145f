"""The demo's HTTP server on loopback: the provider's token endpoint and an API that checks.

A program of its own: ``python -m tokenrelay.demo.api [SECONDS]``, where tokens live that long. It
ends when its input is closed.
"""

from __future__ import annotations

import json
import secrets
import sys
import threading
import time
from base64 import b64encode
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs

from tokenrelay.demo.provider import Provider
from tokenrelay.demo.reports import boot_ns, report, wait_for_parent
from tokenrelay.sender.tokens import fingerprint

CLIENT_ID = "tokenrelay-demo"
TOKEN_SECONDS = 10
MAXIMUM_FORM_BYTES = 65_536
COUNT_SECONDS = 0.25


class Server(ThreadingHTTPServer):
    """The sockets, the provider behind them, and the counts of the API."""

    daemon_threads = True

    def __init__(self, provider: Provider) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.provider = provider
        self.client_secret: str = secrets.token_urlsafe(24)
        self._lock = threading.Lock()
        self._calls = self._refused = 0

    @property
    def credentials(self) -> str:
        """The Authorization header of the one client, RFC 6749 §2.3.1."""
        pair = f"{CLIENT_ID}:{self.client_secret}".encode()
        return f"Basic {b64encode(pair).decode()}"

    def count(self, refusal: str | None) -> None:
        with self._lock:
            self._calls += 1
            self._refused += refusal is not None

    def report_counts(self) -> None:
        with self._lock:
            report("counts", calls=self._calls, refused=self._refused)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A worker that is killed on purpose breaks its connection.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """``POST /token`` and ``GET /api``."""

    server: Server
    protocol_version = "HTTP/1.1"
    timeout: ClassVar[float | None] = 30
    # One send(2) an answer: two, on a kept connection, wait for each other (Nagle, delayed ACK).
    wbufsize: ClassVar[int] = 65_536
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        refusal = self.server.provider.refusal(token) if scheme == "Bearer" else "missing"
        self.server.count(refusal)
        if refusal is None:
            self._answer(HTTPStatus.OK, {"ok": True})
            return
        report("refused", reason=refusal, worker=self.headers.get("X-Worker"))
        self._answer(HTTPStatus.UNAUTHORIZED, {"error": "invalid_token", "reason": refusal})

    def do_POST(self) -> None:
        length = min(int(self.headers.get("Content-Length", 0)), MAXIMUM_FORM_BYTES)
        form = parse_qs(self.rfile.read(length).decode("ascii", "replace"))
        if self.headers.get("Authorization") != self.server.credentials:
            self._answer(HTTPStatus.UNAUTHORIZED, {"error": "invalid_client"})
        elif form.get("grant_type") != ["refresh_token"]:
            self._answer(HTTPStatus.BAD_REQUEST, {"error": "unsupported_grant_type"})
        else:
            self._refresh(form.get("refresh_token", [""])[0])

    def _refresh(self, refresh_token: str) -> None:
        granted = self.server.provider.refresh(refresh_token)
        if granted is None:
            report("refresh_refused")
            self._answer(HTTPStatus.BAD_REQUEST, {"error": "invalid_grant"})
            return
        report("refresh", fingerprint=fingerprint(granted["access_token"]), at_ns=boot_ns())
        self._answer(HTTPStatus.OK, granted)

    def _answer(self, status: HTTPStatus, fields: dict[str, Any]) -> None:
        body = json.dumps(fields).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        if status == HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", 'Bearer error="invalid_token"')
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing: the parent hears of what matters through reports."""


def main() -> None:
    lifetime = int(sys.argv[1]) if len(sys.argv) > 1 else TOKEN_SECONDS
    server = Server(Provider(lifetime))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    login = server.provider.log_in()
    report(
        "ready",
        url=f"http://127.0.0.1:{server.server_port}",
        client_id=CLIENT_ID,
        client_secret=server.client_secret,
        access_token=login["access_token"],
        refresh_token=login["refresh_token"],
        issued_at=int(time.time()),
        expires_in=login["expires_in"],
    )
    while not wait_for_parent(COUNT_SECONDS):
        server.report_counts()
    server.shutdown()
    server.report_counts()


if __name__ == "__main__":
    main()
