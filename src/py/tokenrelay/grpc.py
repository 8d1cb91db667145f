"""gRPC with a receiver's tokens.

channel = grpc.intercept_channel(grpc.secure_channel(target, credentials), TokenAuth(receiver))
channel = grpc.aio.secure_channel(target, credentials, interceptors=aio_interceptors(receiver))
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from ._bearer import Bearer
from .errors import TokenRelayError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from . import Token, TokenReceiver


class TokenAuth(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Gives each call the newest token, and a unary one another try after UNAUTHENTICATED.

    An interceptor for `grpc.intercept_channel`; one serves any number of channels and threads.
    After UNAUTHENTICATED it asks for a refresh of the refused token and waits for a newer one,
    which all calls refused meanwhile share. A call that streams, or a ``future``, is not made
    again; the refresh is asked for all the same. The token travels as metadata on whatever channel
    it is: on an insecure one everybody on the way can read it.

    Args:
        receiver: started; it must outlive the channel.
        timeout: seconds to wait for a valid token before a call, and for a newer one after
            UNAUTHENTICATED. Where none comes, UNAUTHENTICATED is what the caller gets.

    Raises:
        TokenTimeout: by a call, where there is no token yet.
        TokenExpired: by a call, where the newest one has expired; it is not sent.
        ReceiverStopped: by a call, where there is no valid token and none can come.
    """

    def __init__(self, receiver: TokenReceiver, *, timeout: float = 10.0) -> None:
        self._bearer = Bearer(receiver, timeout)

    def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: Any, request: Any
    ) -> Any:
        """Make the call, and once more where its token was refused."""
        token = self._bearer.token()
        call = continuation(_Details(client_call_details, token), request)
        if not call.done():  # a future, whose answer its caller waits for
            return self._watched(call, token)
        if not _is_refusal(call.code()):
            return call
        newer = self._bearer.newer(token)
        return (
            call if newer is None else continuation(_Details(client_call_details, newer), request)
        )

    def intercept_unary_stream(
        self, continuation: Callable[..., Any], client_call_details: Any, request: Any
    ) -> Any:
        """Make the call."""
        token = self._bearer.token()
        return self._watched(continuation(_Details(client_call_details, token), request), token)

    def intercept_stream_unary(
        self, continuation: Callable[..., Any], client_call_details: Any, request_iterator: Any
    ) -> Any:
        """Make the call."""
        token = self._bearer.token()
        call = continuation(_Details(client_call_details, token), request_iterator)
        if not call.done():
            return self._watched(call, token)
        self._judge(call, token)
        return call

    def intercept_stream_stream(
        self, continuation: Callable[..., Any], client_call_details: Any, request_iterator: Any
    ) -> Any:
        """Make the call."""
        return self.intercept_unary_stream(continuation, client_call_details, request_iterator)

    def _watched(self, call: Any, token: Token) -> Any:
        if not call.add_callback(partial(self._judge, call, token)):
            self._judge(call, token)
        return call

    def _judge(self, call: Any, token: Token) -> None:
        if _is_refusal(call.code()):
            self._bearer.refuse(token)


def aio_interceptors(
    receiver: TokenReceiver, *, timeout: float = 10.0
) -> list[grpc.aio.ClientInterceptor]:
    """`TokenAuth` for a channel of `grpc.aio`, which wants an interceptor for each kind of call.

    Never blocks the loop. Arguments and errors as for `TokenAuth`. A stream that is refused while
    it still sends may end with INTERNAL, by grpc.aio's own doing; then no refresh is asked for.
    """
    bearer = Bearer(receiver, timeout)
    kinds = (_AioUnary, _AioUnaryStream, _AioStreamUnary, _AioStreamStream)
    return [kind(bearer) for kind in kinds]


def call_credentials(receiver: TokenReceiver, *, timeout: float = 10.0) -> grpc.CallCredentials:
    """The newest token as call credentials, for a channel that takes no interceptor; no retry.

    For `grpc.composite_channel_credentials`, sync and aio. gRPC itself keeps them off an insecure
    channel. A call that has no valid token after ``timeout`` seconds fails, with the reason.
    """
    return grpc.metadata_call_credentials(_Newest(Bearer(receiver, timeout)), "tokenrelay")


class _Details(grpc.ClientCallDetails):
    """A call's details with a token among its metadata.

    Not with call credentials: grpc.aio never frees those of a single call (grpc/grpc#43193).
    """

    def __init__(self, details: Any, token: Token) -> None:
        self.method = details.method
        self.timeout = details.timeout
        self.metadata = _with_token(details.metadata, token)
        self.credentials = details.credentials
        self.wait_for_ready = details.wait_for_ready
        self.compression = details.compression


def _aio_details(details: Any, token: Token) -> grpc.aio.ClientCallDetails:
    return grpc.aio.ClientCallDetails(
        details.method,
        details.timeout,
        grpc.aio.Metadata(*_with_token(details.metadata, token)),
        details.credentials,
        details.wait_for_ready,
    )


def _with_token(metadata: Any, token: Token) -> tuple[tuple[str, Any], ...]:
    others = (pair for pair in metadata or () if pair[0] != "authorization")
    return (*others, ("authorization", token.authorization))


def _is_refusal(code: grpc.StatusCode) -> bool:
    return code is grpc.StatusCode.UNAUTHENTICATED


class _Newest(grpc.AuthMetadataPlugin):
    def __init__(self, bearer: Bearer) -> None:
        self._bearer = bearer

    def __call__(self, _context: Any, callback: Callable[..., object]) -> None:
        # gRPC calls on a thread of its own, never on a loop's.
        try:
            token = self._bearer.token()
        except TokenRelayError as error:
            callback((), error)
        else:
            callback((("authorization", token.authorization),), None)


class _AioUnary(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, bearer: Bearer) -> None:
        self._bearer = bearer

    async def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: Any, request: Any
    ) -> Any:
        token = await self._bearer.token_async()
        call = await continuation(_aio_details(client_call_details, token), request)
        if not _is_refusal(await call.code()):
            return call
        newer = await self._bearer.newer_async(token)
        if newer is None:
            return call
        return await continuation(_aio_details(client_call_details, newer), request)


class _AioStream:
    """A call that streams one way or both: made once, and watched."""

    def __init__(self, bearer: Bearer) -> None:
        self._bearer = bearer
        self._watching: set[asyncio.Task[None]] = set()

    async def _call(
        self, continuation: Callable[..., Awaitable[Any]], details: Any, request: Any
    ) -> Any:
        token = await self._bearer.token_async()
        call = await continuation(_aio_details(details, token), request)
        call.add_done_callback(partial(self._ended, token))
        return call

    def _ended(self, token: Token, call: Any) -> None:
        watching = asyncio.ensure_future(self._judge(token, call))
        self._watching.add(watching)  # the loop itself keeps no task alive
        watching.add_done_callback(self._watching.discard)

    async def _judge(self, token: Token, call: Any) -> None:
        if _is_refusal(await call.code()):
            self._bearer.refuse(token)


class _AioUnaryStream(_AioStream, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(
        self, continuation: Callable[..., Any], client_call_details: Any, request: Any
    ) -> Any:
        return await self._call(continuation, client_call_details, request)


class _AioStreamUnary(_AioStream, grpc.aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(
        self, continuation: Callable[..., Any], client_call_details: Any, request_iterator: Any
    ) -> Any:
        return await self._call(continuation, client_call_details, request_iterator)


class _AioStreamStream(_AioStream, grpc.aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(
        self, continuation: Callable[..., Any], client_call_details: Any, request_iterator: Any
    ) -> Any:
        return await self._call(continuation, client_call_details, request_iterator)
