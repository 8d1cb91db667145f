"""The web server that one login's callback reaches: on loopback, for as long as the login takes."""

from __future__ import annotations

import contextlib
import errno
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import anyio
from anyio.streams.tls import TLSStream

from tokenrelay.sender.callback_page import Page, render
from tokenrelay.sender.errors import SenderError

if TYPE_CHECKING:
    from anyio.abc import ByteStream, SocketStream

    from tokenrelay.sender.callback_address import CallbackAddress

MAXIMUM_HEAD_BYTES = 65_536
REQUEST_SECONDS = 15.0
TLS_HANDSHAKE = b"\x16\x03"  # how a TLS client begins, RFC 8446 §5.1
GONE = (
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.EndOfStream,
    ConnectionError,
    TimeoutError,
)

Answer = Callable[[str], Awaitable[Page]]
Note = Callable[[str], None]


class CallbackServer:
    """Answers browsers at one address. Belongs to the event loop's thread."""

    def __init__(
        self,
        address: CallbackAddress,
        *,
        context: ssl.SSLContext | None,
        answer: Answer,
        note: Note,
    ) -> None:
        """``answer`` gets the query of a callback and returns what the browser is shown; ``note``
        tells the user what went wrong in between."""
        self._address, self._context = address, context
        self._answer, self._note = answer, note
        self._decided = anyio.Event()
        self._noted: set[str] = set()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Listens until the block ends; SenderError, with the cure, where it cannot."""
        address = self._address
        try:
            listener = await anyio.create_tcp_listener(
                local_host=address.host, local_port=address.port
            )
        except OSError as error:
            raise SenderError(_listen_cause(address, error)) from None
        async with listener, anyio.create_task_group() as group:
            group.start_soon(listener.serve, self._serve)
            yield
            group.cancel_scope.cancel()

    async def decided(self) -> None:
        """Returns once a final page has been sent."""
        await self._decided.wait()

    async def _serve(self, connection: SocketStream) -> None:
        with contextlib.suppress(*GONE):
            try:
                async with connection:
                    await self._converse(connection)
            except ssl.SSLError as error:
                self._explain(error)

    async def _converse(self, connection: SocketStream) -> None:
        with anyio.fail_after(REQUEST_SECONDS):
            stream = await self._secured(connection)
            head = await _read_head(stream)
        if head.startswith(TLS_HANDSHAKE):
            self._tell("the browser spoke https, but redirect_uri begins with http")
            return
        page = await self._respond(head)
        try:
            with anyio.fail_after(REQUEST_SECONDS):
                await stream.send(render(page))
                await stream.aclose()
        finally:
            if page.final:
                self._decided.set()

    async def _secured(self, connection: SocketStream) -> ByteStream:
        if self._context is None:
            return connection
        # Browsers close without TLS's farewell.
        return await TLSStream.wrap(
            connection, server_side=True, ssl_context=self._context, standard_compatible=False
        )

    async def _respond(self, head: bytes) -> Page:
        method, _, rest = head.partition(b"\r\n")[0].decode("latin-1").partition(" ")
        target, _, version = rest.rpartition(" ")
        if not version.startswith("HTTP/1.") or not head.endswith(b"\r\n\r\n"):
            return Page(HTTPStatus.BAD_REQUEST, "Not understood", "This is no request of HTTP/1.1.")
        if method != "GET":
            return Page(HTTPStatus.METHOD_NOT_ALLOWED, "Not here", "A callback is a GET request.")
        path, _, query = target.partition("?")
        if path != self._address.path:
            return self._elsewhere(path, query)
        return await self._answer(query)

    def _elsewhere(self, path: str, query: str) -> Page:
        if {"code", "error"} & parse_qs(query, max_num_fields=None).keys():
            self._tell(
                f"a callback came to the path {ascii(path)[:100]}, but redirect_uri says "
                f"{self._address.path!r}: write it there as it is registered, to the letter"
            )
        return Page(HTTPStatus.NOT_FOUND, "Nothing here", "The login's callback has another path.")

    def _explain(self, error: ssl.SSLError) -> None:
        reason = error.reason or ""
        if reason == "HTTP_REQUEST":
            self._tell("the browser spoke http, but redirect_uri begins with https")
        elif "ALERT" in reason:
            self._tell(
                "the browser does not trust the callback's certificate yet: on its warning page "
                "choose to go on (Advanced, then Proceed), once the fingerprint is the one above"
            )

    def _tell(self, text: str) -> None:
        if text not in self._noted:
            self._noted.add(text)
            self._note(text)


async def _read_head(stream: ByteStream) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n") and len(head) <= MAXIMUM_HEAD_BYTES:
        head += await stream.receive()
        if head.startswith(TLS_HANDSHAKE):
            break
    return head


def _listen_cause(address: CallbackAddress, error: OSError) -> str:
    port = address.port
    instead = "or answer by hand with --paste"
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} of {address.host} is taken, by another login or client perhaps: find it "
            f"with ss -ltnp 'sport = :{port}' and end it, {instead}"
        )
    if error.errno == errno.EACCES:
        return (
            f"port {port} is below 1024, which only root may use: register a callback with a "
            f"higher port, as {address.origin.rpartition(':')[0]}:8182, and set redirect_uri to "
            f"it, {instead}"
        )
    return f"{address.origin} cannot be listened on: {error.strerror or error}; {instead}"
