"""`aiohttp` with a receiver's tokens: ``ClientSession(middlewares=(TokenAuth(receiver),))``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp.hdrs import AUTHORIZATION
from aiohttp.payload import AsyncIterablePayload, BytesPayload
from yarl import URL

from ._bearer import UNAUTHORIZED, Bearer

if TYPE_CHECKING:
    from aiohttp import ClientHandlerType, ClientRequest, ClientResponse

    from . import TokenReceiver


class TokenAuth:
    """Sends the newest token with each request, and once more with a newer one after a 401.

    A client middleware (aiohttp 3.12 or newer) for a session or for a single request. It serves
    one origin: requests to another, and so redirects to one, pass without a token. After a 401 it
    asks for a refresh of the refused token and waits for a newer one, which all calls refused
    meanwhile share. What is sent again is the request with a body in memory or in a file that can
    seek. Where the body is an iterator the 401 is returned and the refresh asked for all the same.

    Args:
        receiver: started; it must outlive the session.
        origin: ``https://host[:port]`` that gets the tokens; that of the first request if not
            given. An API of several origins takes one of these for each.
        timeout: seconds to wait for a valid token before a request, and for a newer one after a
            401. Where none comes, the 401 is what the caller gets.

    Raises:
        ValueError: ``origin`` is not an absolute URL.
        TokenTimeout: by a request, where there is no token yet.
        TokenExpired: by a request, where the newest one has expired; it is not sent.
        ReceiverStopped: by a request, where there is no valid token and none can come.
    """

    def __init__(
        self, receiver: TokenReceiver, *, origin: str | None = None, timeout: float = 10.0
    ) -> None:
        self._bearer = Bearer(receiver, timeout)
        self._origin = None if origin is None else _parsed(origin)

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Send a request, each redirect being one of its own."""
        # The library calls for a redirect as for any other request, and a middleware can't tell
        # them apart: hence one origin.
        origin = request.url.origin()
        if self._origin is None:
            self._origin = origin
        if origin != self._origin:
            return await handler(request)
        token = await self._bearer.token_async()
        request.headers[AUTHORIZATION] = token.authorization
        response = await handler(request)
        if response.status != UNAUTHORIZED:
            return response
        if not _can_be_repeated(request):
            self._bearer.refuse(token)
            return response
        newer = await self._bearer.newer_async(token)
        if newer is None:
            return response
        response.release()
        await request.close()  # the body may still be on its way
        request.headers[AUTHORIZATION] = newer.authorization
        return await handler(request)


def _parsed(origin: str) -> URL:
    url = URL(origin)
    if not url.absolute:
        raise ValueError(f"origin: {origin!r} is not of the form https://host[:port]")
    return url.origin()


def _can_be_repeated(request: ClientRequest) -> bool:
    body = request.body
    if isinstance(body, bytes | BytesPayload):
        return True
    if isinstance(body, AsyncIterablePayload):
        return False  # half read, where the answer came early
    return not getattr(body, "consumed", True)  # 3.12.0 cannot tell
