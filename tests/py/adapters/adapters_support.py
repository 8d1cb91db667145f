"""What the adapters' tests share: the API's process, and a way to call it with each library."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    ExitStack,
    asynccontextmanager,
    contextmanager,
)
from typing import TYPE_CHECKING, Any, Protocol

import aiohttp
import grpc
import grpc.aio
import httpx
import httpx2
import requests

import tokenrelay.aiohttp
import tokenrelay.grpc
import tokenrelay.httpx
import tokenrelay.httpx2
import tokenrelay.requests
from tokenrelay import TokenTimeout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.strict import StrictApi
    from tokenrelay import TokenReceiver

LOCAL = grpc.local_channel_credentials(grpc.LocalConnectionType.LOCAL_TCP)
OK, UNAUTHORIZED = 200, 401
STATUSES = {grpc.StatusCode.UNAUTHENTICATED: UNAUTHORIZED}


def outlive(receiver: TokenReceiver) -> None:
    """Wait until the receiver's token has expired."""
    token = receiver.wait(20)
    with contextlib.suppress(TokenTimeout):
        receiver.wait(max(token.expires_in, 0) + 0.01, after=token)
    assert token.expired


class Tally:
    """Counts the statuses that callers got, and holds callers that run too far ahead."""

    def __init__(self, *, limit: int) -> None:
        self.statuses: Counter[int] = Counter()
        self._limit = limit
        self._changed = threading.Condition()

    def add(self, status: int) -> None:
        with self._changed:
            self.statuses[status] += 1
            if self.statuses.total() % 50 == 0:
                self._changed.notify_all()
            self._changed.wait_for(lambda: self.statuses.total() <= self._limit, timeout=60)

    def raise_limit(self, calls: int) -> None:
        with self._changed:
            self._limit += calls
            self._changed.notify_all()

    def wait_for(self, calls: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.statuses.total() >= calls, timeout=60)


class Call(Protocol):
    """Makes one call; returns its status, as HTTP has it."""

    def __call__(self) -> int: ...


Open = Callable[..., AbstractContextManager[Call]]
OpenAsync = Callable[..., AbstractAsyncContextManager[Callable[[], Awaitable[int]]]]


def httpx_calls(library: Any, adapter: Any) -> Open:
    @contextmanager
    def open_client(receiver: TokenReceiver, api: StrictApi, **options: Any) -> Iterator[Call]:
        auth = adapter.TokenAuth(receiver, **options)
        with library.Client(auth=auth, timeout=30) as client:
            yield lambda: client.get(api.resource_url).status_code

    return open_client


def httpx_async_calls(library: Any, adapter: Any) -> OpenAsync:
    @asynccontextmanager
    async def open_client(receiver: TokenReceiver, api: StrictApi, **options: Any) -> Any:
        auth = adapter.TokenAuth(receiver, **options)
        async with library.AsyncClient(auth=auth, timeout=30) as client:

            async def call() -> int:
                status: int = (await client.get(api.resource_url)).status_code
                return status

            yield call

    return open_client


@contextmanager
def requests_calls(receiver: TokenReceiver, api: StrictApi, **options: Any) -> Iterator[Call]:
    auth = tokenrelay.requests.TokenAuth(receiver, **options)
    own = threading.local()  # a session is not made for several threads
    with ExitStack() as sessions:

        def call() -> int:
            if not hasattr(own, "session"):
                own.session = sessions.enter_context(requests.Session())
                own.session.auth = auth
            return int(own.session.get(api.resource_url, timeout=30).status_code)

        yield call


@asynccontextmanager
async def aiohttp_calls(receiver: TokenReceiver, api: StrictApi, **options: Any) -> Any:
    auth = tokenrelay.aiohttp.TokenAuth(receiver, **options)
    async with aiohttp.ClientSession(middlewares=(auth,)) as session:

        async def call() -> int:
            async with session.get(api.resource_url) as response:
                await response.read()
                return response.status

        yield call


@contextmanager
def grpc_calls(receiver: TokenReceiver, api: StrictApi, **options: Any) -> Iterator[Call]:
    auth = tokenrelay.grpc.TokenAuth(receiver, **options)
    with grpc.secure_channel(api.grpc_target, LOCAL) as channel:
        method = grpc.intercept_channel(channel, auth).unary_unary("/strict/UnaryUnary")

        def call() -> int:
            try:
                return OK if method(b"ping", timeout=30) == b"ping" else 0
            except grpc.RpcError as error:
                return STATUSES[error.code()]

        yield call


@asynccontextmanager
async def grpc_aio_calls(receiver: TokenReceiver, api: StrictApi, **options: Any) -> Any:
    interceptors = tokenrelay.grpc.aio_interceptors(receiver, **options)
    async with grpc.aio.secure_channel(
        api.grpc_target, LOCAL, interceptors=interceptors
    ) as channel:
        method = channel.unary_unary("/strict/UnaryUnary")

        async def call() -> int:
            try:
                return OK if await method(b"ping", timeout=30) == b"ping" else 0
            except grpc.aio.AioRpcError as error:
                return STATUSES[error.code()]

        yield call


SYNC: dict[str, Open] = {
    "httpx": httpx_calls(httpx, tokenrelay.httpx),
    "httpx2": httpx_calls(httpx2, tokenrelay.httpx2),
    "requests": requests_calls,
    "grpc": grpc_calls,
}
ASYNC: dict[str, OpenAsync] = {
    "httpx-async": httpx_async_calls(httpx, tokenrelay.httpx),
    "httpx2-async": httpx_async_calls(httpx2, tokenrelay.httpx2),
    "aiohttp": aiohttp_calls,
    "grpc-aio": grpc_aio_calls,
}


class MakeCalls(Protocol):
    """Makes ``count`` calls with one library, ``parallel`` at a time, and tells each status."""

    def __call__(
        self,
        receiver: TokenReceiver,
        api: StrictApi,
        count: int,
        tell: Callable[[int], object],
        *,
        parallel: int = 8,
        **options: Any,
    ) -> None: ...


def in_threads(open_client: Open) -> MakeCalls:
    def make_calls(receiver, api, count, tell, *, parallel=8, **options):
        def work() -> None:
            for _ in range(count // parallel):
                tell(call())

        with open_client(receiver, api, **options) as call, ThreadPoolExecutor(parallel) as pool:
            for done in [pool.submit(work) for _ in range(parallel)]:
                done.result()

    return make_calls


def in_tasks(open_client: OpenAsync) -> MakeCalls:
    def make_calls(receiver, api, count, tell, *, parallel=8, **options):
        async def main() -> None:
            async with open_client(receiver, api, **options) as call:

                async def work() -> None:
                    for _ in range(count // parallel):
                        # It may hold this caller, and must not hold the loop.
                        await asyncio.to_thread(tell, await call())

                await asyncio.gather(*(work() for _ in range(parallel)))

        asyncio.run(main())

    return make_calls


ADAPTERS: dict[str, MakeCalls] = {
    **{name: in_threads(open_client) for name, open_client in SYNC.items()},
    **{name: in_tasks(open_client) for name, open_client in ASYNC.items()},
}
