"""One of the demo's receiving programs: calls the API 100 times a second with the newest token.

A program of its own: ``python -m tokenrelay.demo.worker NAME URL``. It ends when its input is
closed. The part between `receiver` and `call` is all that a real program needs.
"""

from __future__ import annotations

import http.client
import sys
import time
from urllib.parse import urlsplit

from tokenrelay import Token, TokenReceiver
from tokenrelay.demo.reports import boot_ns, report, wait_for_parent
from tokenrelay.sender.tokens import fingerprint

ACCOUNT = "demo"
CALLS_A_SECOND = 100
REPORT_SECONDS = 0.25
FIRST_TOKEN_SECONDS = 30.0


class Worker:
    """Makes the calls and counts them."""

    def __init__(self, name: str, url: str) -> None:
        self._headers = {"X-Worker": name}
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
        self._calls = self._refused = self._failed = 0

    def run(self) -> None:
        receiver = TokenReceiver(ACCOUNT)
        started_ns = boot_ns()
        receiver.subscribe(lambda token: _report_token(token, boot_ns(), started_ns))
        with receiver:
            token: Token | None = receiver.wait(timeout=FIRST_TOKEN_SECONDS)
            next_call = next_report = time.monotonic()
            while not wait_for_parent(next_call - time.monotonic()):
                token = receiver.token
                if token is not None:
                    self._call(token)
                now = time.monotonic()
                next_call = max(next_call + 1 / CALLS_A_SECOND, now)
                if now >= next_report:
                    next_report = now + REPORT_SECONDS
                    self._report_calls()
        self._report_calls()

    def _call(self, token: Token) -> None:
        try:
            headers = {"Authorization": token.authorization, **self._headers}
            self._connection.request("GET", "/api", headers=headers)
            response = self._connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            self._failed += 1
            return
        self._calls += 1
        self._refused += response.status != http.client.OK

    def _report_calls(self) -> None:
        report("calls", calls=self._calls, refused=self._refused, failed=self._failed)


def _report_token(token: Token, entered_ns: int, started_ns: int) -> None:
    report(
        "token",
        fingerprint=fingerprint(token.access_token),
        generation=token.generation,
        expires_at=token.expires_at,
        entered_ns=entered_ns,
        latency_us=(entered_ns - token.received_at_ns) / 1000,
        since_start_ms=(token.received_at_ns - started_ns) / 1e6,
    )


if __name__ == "__main__":
    Worker(*sys.argv[1:]).run()
