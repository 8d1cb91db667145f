"""The authentication flow of httpx and of httpx2, which have the same interface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ._bearer import UNAUTHORIZED, Bearer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from . import Token, TokenReceiver


class BearerFlow:
    """Sends the newest token with each request, and once more with a newer one after a 401.

    For ``Client`` and, on asyncio, ``AsyncClient``; one serves any number of clients, threads and
    loops. After a 401 it asks for a refresh of the refused token and waits for a newer one, which
    all calls refused meanwhile share. What is sent again is the request with a body held in memory
    (``json``, ``data``, ``content`` of bytes). Where the body is a stream (an iterator, a file,
    ``files``) the 401 is returned and the refresh asked for all the same. A redirect to another
    origin carries no token: the library takes the header away.

    Args:
        receiver: started; it must outlive the client.
        timeout: seconds to wait for a valid token before a request, and for a newer one after a
            401. Where none comes, the 401 is what the caller gets.

    Raises:
        TokenTimeout: by a request, where there is no token yet.
        TokenExpired: by a request, where the newest one has expired; it is not sent.
        ReceiverStopped: by a request, where there is no valid token and none can come.
    """

    body_in_memory: ClassVar[type]
    """The library's stream of a body that can be sent any number of times."""

    def __init__(self, receiver: TokenReceiver, *, timeout: float = 10.0) -> None:
        self._bearer = Bearer(receiver, timeout)

    def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:
        """What the library's ``Client`` runs for each request."""
        token = self._bearer.token()
        response = yield _signed(request, token)
        if not _refused(response, token):
            return
        if not self._can_be_repeated(response.request):
            self._bearer.refuse(token)
        elif (newer := self._bearer.newer(token)) is not None:
            yield _signed(response.request, newer)

    async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        """What the library's ``AsyncClient`` runs for each request."""
        token = await self._bearer.token_async()
        response = yield _signed(request, token)
        if not _refused(response, token):
            return
        if not self._can_be_repeated(response.request):
            self._bearer.refuse(token)
        elif (newer := await self._bearer.newer_async(token)) is not None:
            yield _signed(response.request, newer)

    def _can_be_repeated(self, request: Any) -> bool:
        return isinstance(request.stream, self.body_in_memory)


def _signed(request: Any, token: Token) -> Any:
    request.headers["Authorization"] = token.authorization
    return request


def _refused(response: Any, token: Token) -> bool:
    # After redirects it answers the last request, which at another origin carries no token. That
    # one is what is sent again: the first may have done its work already.
    sent = response.request.headers.get("Authorization")
    return bool(response.status_code == UNAUTHORIZED and sent == token.authorization)
