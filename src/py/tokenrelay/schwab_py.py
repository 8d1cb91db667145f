"""schwab-py's client, fed by a receiver. For schwab-py 1.5, which it imports; it never refreshes.

>>> from tokenrelay import TokenReceiver, schwab_py
>>> with TokenReceiver("schwab") as receiver:
...     client = schwab_py.client(receiver, api_key)
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NoReturn

from authlib.integrations.httpx_client import OAuth2Auth
from authlib.oauth2.rfc6749 import OAuth2Token
from schwab.auth import client_from_access_functions

from ._bearer import UNAUTHORIZED, Bearer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from . import Token, TokenReceiver

LOGIN_SECONDS = 7 * 86400  # Schwab's, counted from the login


def client(
    receiver: TokenReceiver,
    api_key: str,
    app_secret: str | None = None,
    *,
    asyncio: bool = False,
    enforce_enums: bool = True,
    timeout: float = 10.0,
) -> Any:
    """A ``schwab.client.Client``, with ``asyncio`` an ``AsyncClient``, on ``receiver``'s tokens.

    Each request, and each login of a ``StreamClient``, uses the newest token. An answer of 401
    makes the client ask for a refresh, wait for a newer token and try once more. As thread-safe
    as the ``Client`` itself.

    Args:
        receiver: started; it must outlive the client.
        api_key: as for ``client_from_access_functions``.
        app_secret: not needed, since nothing is refreshed here.
        asyncio: as for ``client_from_access_functions``.
        enforce_enums: as for ``client_from_access_functions``.
        timeout: seconds to wait for a valid token, now and before a request, and for a newer
            one after a 401.

    Raises:
        TokenTimeout: no token came in time. Requests raise it too, and ``TokenExpired`` where the
            newest one has expired.
    """
    live = _LiveToken(receiver, receiver.wait(timeout))
    metadata = _Metadata(receiver, live)
    made = client_from_access_functions(
        api_key,
        app_secret,
        lambda: {"creation_timestamp": metadata.creation_timestamp, "token": live},
        _refuse_write,
        asyncio=asyncio,
        enforce_enums=enforce_enums,
    )
    made.token_metadata = metadata
    made.session.token_auth = _ReceiverAuth(receiver, live, made.session, timeout)
    return made


class _LiveToken(OAuth2Token):  # type: ignore[misc, unused-ignore]
    """The newest token in Authlib's form. Without a refresh token, and never due for one."""

    def __init__(self, receiver: TokenReceiver, first: Token) -> None:
        super().__init__(_as_fields(first))
        self._receiver = receiver

    def __getitem__(self, key: str) -> Any:
        newest = self._receiver.token
        if newest is not None:
            self.update(_as_fields(newest))
        return super().__getitem__(key)

    def is_expired(self, leeway: int = 60) -> bool:  # noqa: ARG002
        return False  # `_ReceiverAuth` waits for a valid one; a margin of ours would only refuse it


class _Metadata:
    """What schwab-py's client and streams read of ``schwab.auth.TokenMetadata``."""

    def __init__(self, receiver: TokenReceiver, token: _LiveToken) -> None:
        self.token = token
        self._receiver, self._began = receiver, int(time.time())

    @property
    def creation_timestamp(self) -> int:
        """Unix seconds of the login; of this client where the sender does not tell its end."""
        newest = self._receiver.token
        end = newest.grant_expires_at if newest is not None else None
        return self._began if end is None else end - LOGIN_SECONDS

    def token_age(self) -> int:
        return int(time.time()) - self.creation_timestamp


class _ReceiverAuth(OAuth2Auth):  # type: ignore[misc, unused-ignore]
    """Signs with the newest valid token; after a 401 once more with a newer one."""

    requires_request_body = True  # to be able to send it twice

    def __init__(
        self, receiver: TokenReceiver, token: _LiveToken, session: Any, timeout: float
    ) -> None:
        super().__init__(token, client=session)
        self._bearer = Bearer(receiver, timeout)

    def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:
        request.read()
        token = self._bearer.token()
        response = yield _signed(request, token)
        if response.status_code == UNAUTHORIZED:
            newer = self._bearer.newer(token)
            if newer is not None:
                yield _signed(request, newer)

    async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        await request.aread()
        token = await self._bearer.token_async()
        response = yield _signed(request, token)
        if response.status_code == UNAUTHORIZED:
            newer = await self._bearer.newer_async(token)
            if newer is not None:
                yield _signed(request, newer)


def _signed(request: Any, token: Token) -> Any:
    request.headers["Authorization"] = token.authorization
    return request


def _as_fields(token: Token) -> dict[str, Any]:
    return {
        "access_token": token.access_token,
        "token_type": "Bearer",
        "expires_at": token.expires_at,
    }


def _refuse_write(*_: object, **__: object) -> NoReturn:
    raise RuntimeError("a client on a receiver does not refresh: the sender does")
