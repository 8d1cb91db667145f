"""`requests` with a receiver's tokens: ``session.auth = TokenAuth(receiver)``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from requests.auth import AuthBase
from requests.exceptions import UnrewindableBodyError
from requests.utils import rewind_body

from ._bearer import UNAUTHORIZED, Bearer

if TYPE_CHECKING:
    from requests import PreparedRequest, Response

    from . import Token, TokenReceiver


class TokenAuth(AuthBase):
    """Sends the newest token with each request, and once more with a newer one after a 401.

    One serves any number of sessions and threads. After a 401 it asks for a refresh of the refused
    token and waits for a newer one, which all calls refused meanwhile share. What is sent again is
    the request with a body held in memory (``json``, ``data``, ``files``) or in a file that can
    seek. Where the body is an iterator the 401 is returned and the refresh asked for all the same.
    A redirect to another origin carries no token: the library takes the header away.

    Args:
        receiver: started; it must outlive the session.
        timeout: seconds to wait for a valid token before a request, and for a newer one after a
            401. Where none comes, the 401 is what the caller gets.

    Raises:
        TokenTimeout: by a request, where there is no token yet.
        TokenExpired: by a request, where the newest one has expired; it is not sent.
        ReceiverStopped: by a request, where there is no valid token and none can come.
    """

    def __init__(self, receiver: TokenReceiver, *, timeout: float = 10.0) -> None:
        self._bearer = Bearer(receiver, timeout)

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Sign a request that is about to be sent."""
        token = self._bearer.token()
        request.headers["Authorization"] = token.authorization
        request.register_hook("response", partial(self._answered, token))
        return request

    def _answered(self, token: Token, response: Response, **options: Any) -> Response:
        # Called for each redirect too; the request to another origin carries no token.
        request = response.request
        if response.status_code != UNAUTHORIZED or not _carries(request, token):
            return response
        if not _rewound(request):
            self._bearer.refuse(token)
            return response
        newer = self._bearer.newer(token)
        return response if newer is None else _sent_again(response, newer, options)


def _carries(request: PreparedRequest, token: Token) -> bool:
    return bool(request.headers.get("Authorization") == token.authorization)


def _rewound(request: PreparedRequest) -> bool:
    if request.body is None or isinstance(request.body, bytes | str):
        return True
    try:
        rewind_body(request)
    except UnrewindableBodyError:
        return False
    return True


def _sent_again(response: Response, token: Token, options: dict[str, Any]) -> Response:
    response.content  # noqa: B018 - read to its end, the connection can be used again
    response.close()
    request = response.request.copy()
    request.headers["Authorization"] = token.authorization
    answer: Response = response.connection.send(request, **options)
    answer.history.append(response)
    answer.request = request
    return answer
