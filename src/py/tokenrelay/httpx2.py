"""`httpx2` with a receiver's tokens: ``httpx2.Client(auth=TokenAuth(receiver))``."""

from __future__ import annotations

from typing import ClassVar

import httpx2

from ._httpx_auth import BearerFlow


class TokenAuth(BearerFlow, httpx2.Auth):
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

    body_in_memory: ClassVar[type] = httpx2.ByteStream
