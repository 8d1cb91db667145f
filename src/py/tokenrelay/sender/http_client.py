"""One HTTP request, once: a fresh connection, no redirect, no retry, a deadline, a bounded body;
and, where there is no answer, whether the request may have reached the server."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import anyio

if TYPE_CHECKING:
    from ssl import SSLContext

try:
    import httpx2 as httpx
except ImportError:  # its predecessor, with the same interface
    import httpx  # type: ignore[no-redef]

MAXIMUM_BODY_BYTES = 65_536
ASK_PLAINLY = {"Accept": "application/json", "Accept-Encoding": "identity"}
GZIP_OR_ZLIB = 47  # wbits of zlib.decompressobj: tells the two apart by itself

ClientFactory = Callable[[], httpx.AsyncClient]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. ``body`` is None where it is over 64 KiB or cannot be decoded."""

    status: int
    headers: Mapping[str, str]
    body: bytes | None = field(repr=False)


class NoAnswerError(Exception):
    """No whole answer. ``sent``: bytes of the request left, so the server may have acted.

    ``status`` and ``partial`` are what arrived of it before it broke.
    """

    def __init__(self, cause: str, *, sent: bool, status: int = 0, partial: bytes = b"") -> None:
        super().__init__(cause)
        self.sent: bool = sent
        self.status: int = status
        self.partial: bytes = partial


def default_client() -> httpx.AsyncClient:
    """Verifies TLS, follows no redirect, heeds no proxy or other variable of the environment."""
    return httpx.AsyncClient(verify=_tls(), trust_env=False, follow_redirects=False)


async def exchange(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    content: bytes | None,
    deadline: float,
    client_factory: ClientFactory = default_client,
) -> Answer:
    """Sends one request and returns the answer, whatever its status; NoAnswerError where none
    came within ``deadline`` seconds."""
    attempt = _Attempt()
    try:
        # httpx counts each step anew, but cleans up after itself; so it may give up first.
        with anyio.fail_after(deadline * 1.05):
            async with (
                client_factory() as client,
                client.stream(
                    method,
                    url,
                    headers={**ASK_PLAINLY, **headers},
                    content=content,
                    timeout=deadline,
                    extensions={"trace": attempt.trace},
                ) as response,
            ):
                await attempt.read(response)
        cause = ""
    except (httpx.TimeoutException, TimeoutError):
        cause = f"no answer within {deadline:g} s"
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError) as error:
        # The kind alone, where it has no words; never its number.
        cause = re.sub(r"\[Errno -?\d+\] ", "", str(error)) or type(error).__name__
    return attempt.conclude(cause)


class _Attempt:
    """What is known of one request while it runs."""

    def __init__(self) -> None:
        self._sent, self._status, self._raw = False, 0, bytearray()
        self._answer: Answer | None = None

    async def trace(self, event: str, _info: Mapping[str, Any]) -> None:
        """The transport's report; from the first header byte on, the server may have acted."""
        if event.endswith(".send_request_headers.started"):
            self._sent = True

    async def read(self, response: httpx.Response) -> None:
        self._status, self._sent = response.status_code, True
        headers = {key.lower(): value for key, value in response.headers.items()}
        async for chunk in response.aiter_raw():
            self._raw += chunk
            if len(self._raw) > MAXIMUM_BODY_BYTES:
                self._answer = Answer(self._status, headers, None)
                return
        body = decode_body(bytes(self._raw), headers.get("content-encoding", ""))
        self._answer = Answer(self._status, headers, body)

    def conclude(self, cause: str) -> Answer:
        """The answer if it is whole, however its connection ended, since it may hold the only copy
        of a refresh token; else NoAnswerError with ``cause``."""
        if self._answer is None:
            partial = bytes(self._raw)
            raise NoAnswerError(cause, sent=self._sent, status=self._status, partial=partial)
        return self._answer


def decode_body(raw: bytes, encoding: str) -> bytes | None:
    """The body without its content coding; None past 64 KiB, so that no bomb unfolds."""
    coding = encoding.strip().lower()
    if coding in ("", "identity"):
        return raw
    if coding not in ("gzip", "x-gzip", "deflate"):
        return None
    decoder = zlib.decompressobj(wbits=GZIP_OR_ZLIB)
    try:
        body = decoder.decompress(raw, MAXIMUM_BODY_BYTES)
    except zlib.error:
        return None
    return body if decoder.eof else None


@cache
def _tls() -> SSLContext:
    # Loading the certificates takes longer than all else here, so once for all clients.
    return httpx.create_ssl_context(trust_env=False)
