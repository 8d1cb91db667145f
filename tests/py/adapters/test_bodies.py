"""Which bodies are sent again after a 401: those that can be; for the others a refresh is asked."""

from __future__ import annotations

import asyncio
import io
import os
import threading
from typing import TYPE_CHECKING, Any

import aiohttp
import grpc
import grpc.aio
import httpx
import httpx2
import pytest
import requests
from adapters_support import LOCAL, OK, UNAUTHORIZED

import tokenrelay.aiohttp
import tokenrelay.grpc
import tokenrelay.httpx
import tokenrelay.httpx2
import tokenrelay.requests

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from support.raw_sender import Sender
    from support.strict import StrictApi
    from tokenrelay import TokenReceiver

LIBRARIES = {httpx: tokenrelay.httpx, httpx2: tokenrelay.httpx2}
ASKED = {"request": "refresh", "serial": 1}
BIG = b"0123456789" * 400_000  # more than the sockets hold


@pytest.fixture
def renewing(receiver: TokenReceiver, sender: Sender, api: StrictApi) -> Iterator[TokenReceiver]:
    """A receiver with a bad token, and a sender that answers a request with a good one."""
    sender.send("refused", serial=1)

    def answer() -> None:
        assert sender.next_line() == ASKED
        sender.send(api.access_token, serial=2)

    answering = threading.Thread(target=answer)
    answering.start()
    yield receiver
    answering.join()
    assert receiver.stats.generation == 2


@pytest.fixture
def file(tmp_path: Path) -> Iterator[io.BufferedReader]:
    """A file that is not read from its start."""
    path = tmp_path / "body"
    path.write_bytes(b"skipped" + BIG)
    with path.open("rb") as opened:
        opened.seek(len(b"skipped"))
        yield opened


def generator() -> Iterator[bytes]:
    yield b"first"
    yield b"second"


async def async_generator() -> AsyncIterator[bytes]:
    yield b"first"
    yield b"second"


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.__name__)
@pytest.mark.parametrize(
    ("body", "echo"),
    [
        ({"content": b"bytes"}, b"bytes"),
        ({"json": [1]}, b"[1]"),
        ({"data": {"a": "1"}}, b"a=1"),
        ({}, b"ok"),
    ],
    ids=lambda value: next(iter(value), "none") if isinstance(value, dict) else "",
)
def test_httpx_sends_a_body_in_memory_again(
    renewing: TokenReceiver, api: StrictApi, library: Any, body: dict[str, Any], echo: bytes
) -> None:
    with library.Client(auth=LIBRARIES[library].TokenAuth(renewing, timeout=20)) as client:
        response = client.post(api.resource_url, **body)
    assert (response.status_code, response.content) == (OK, echo)


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.__name__)
@pytest.mark.parametrize("kind", ["generator", "file", "multipart"])
def test_httpx_returns_the_401_where_the_body_is_a_stream(
    renewing: TokenReceiver, api: StrictApi, library: Any, kind: str
) -> None:
    body = {
        "generator": {"content": generator()},
        "file": {"content": io.BytesIO(b"bytes")},
        "multipart": {"files": {"f": io.BytesIO(b"bytes")}},
    }[kind]
    with library.Client(auth=LIBRARIES[library].TokenAuth(renewing, timeout=20)) as client:
        assert client.post(api.resource_url, **body).status_code == UNAUTHORIZED


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.__name__)
@pytest.mark.parametrize(("stream", "status"), [(False, OK), (True, UNAUTHORIZED)])
def test_async_httpx_does_the_same(
    renewing: TokenReceiver, api: StrictApi, library: Any, stream: bool, status: int
) -> None:
    async def main() -> int:
        auth = LIBRARIES[library].TokenAuth(renewing, timeout=20)
        async with library.AsyncClient(auth=auth) as client:
            content = async_generator() if stream else b"bytes"
            answer: int = (await client.post(api.resource_url, content=content)).status_code
            return answer

    assert asyncio.run(main()) == status


IN_MEMORY = pytest.mark.parametrize(
    ("body", "echo"),
    [
        ({"data": b"bytes"}, b"bytes"),
        ({"json": [1]}, b"[1]"),
        ({"data": {"a": "1"}}, b"a=1"),
        ({}, b"ok"),
    ],
    ids=["bytes", "json", "form", "none"],
)


def post(receiver: TokenReceiver, url: str, **body: Any) -> requests.Response:
    auth = tokenrelay.requests.TokenAuth(receiver, timeout=20)
    with requests.Session() as session:
        return session.post(url, auth=auth, timeout=30, **body)


@IN_MEMORY
def test_requests_sends_a_body_in_memory_again(
    renewing: TokenReceiver, api: StrictApi, body: dict[str, Any], echo: bytes
) -> None:
    response = post(renewing, api.resource_url, **body)
    assert (response.status_code, response.content) == (OK, echo)
    assert [each.status_code for each in response.history] == [UNAUTHORIZED]


def test_requests_sends_a_file_again_from_where_it_was(
    renewing: TokenReceiver, api: StrictApi, file: io.BufferedReader
) -> None:
    response = post(renewing, api.resource_url, data=file)
    assert (response.status_code, response.content) == (OK, BIG)


def test_requests_sends_a_multipart_body_again(
    renewing: TokenReceiver, api: StrictApi, file: io.BufferedReader
) -> None:
    response = post(renewing, api.resource_url, files={"f": file})
    assert (response.status_code, BIG in response.content) == (OK, True)


@pytest.mark.parametrize("kind", ["generator", "pipe"])
def test_requests_returns_the_401_where_the_body_is_a_stream(
    renewing: TokenReceiver, api: StrictApi, kind: str
) -> None:
    read, write = os.pipe()
    os.write(write, b"bytes")
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        body = generator() if kind == "generator" else pipe
        response = post(renewing, api.resource_url, data=body)
    assert response.status_code == UNAUTHORIZED


def aiohttp_post(receiver: TokenReceiver, url: str, **body: Any) -> tuple[int, bytes]:
    async def main() -> tuple[int, bytes]:
        auth = tokenrelay.aiohttp.TokenAuth(receiver, timeout=20)
        async with aiohttp.ClientSession(middlewares=(auth,)) as session:
            async with session.post(url, **body) as response:
                return response.status, await response.read()

    return asyncio.run(main())


@IN_MEMORY
def test_aiohttp_sends_a_body_in_memory_again(
    renewing: TokenReceiver, api: StrictApi, body: dict[str, Any], echo: bytes
) -> None:
    assert aiohttp_post(renewing, api.resource_url, **body) == (OK, echo)


@pytest.mark.parametrize("path", ["resource", "early"])
def test_aiohttp_sends_a_file_again_from_where_it_was(
    renewing: TokenReceiver, api: StrictApi, file: io.BufferedReader, path: str
) -> None:
    """Also where the 401 comes before the body has left."""
    assert aiohttp_post(renewing, f"{api.origin}/{path}/", data=file) == (OK, BIG)


def test_aiohttp_returns_the_401_where_the_body_is_a_stream(
    renewing: TokenReceiver, api: StrictApi
) -> None:
    status, _ = aiohttp_post(renewing, api.resource_url, data=async_generator())
    assert status == UNAUTHORIZED


STREAMS = {
    "unary_stream": lambda method: list(method(b"a")),
    "stream_unary": lambda method: method(iter([b"a", b"b"])),
    "stream_stream": lambda method: list(method(iter([b"a", b"b"]))),
    "unary_unary": lambda method: method.future(b"a").result(),
}


@pytest.mark.parametrize("kind", STREAMS)
def test_grpc_fails_where_the_call_is_a_stream_or_a_future(
    renewing: TokenReceiver, api: StrictApi, kind: str
) -> None:
    auth = tokenrelay.grpc.TokenAuth(renewing, timeout=20)
    first = renewing.token
    with grpc.secure_channel(api.grpc_target, LOCAL) as channel:
        name = "".join(word.title() for word in kind.split("_"))
        method = getattr(grpc.intercept_channel(channel, auth), kind)(f"/strict/{name}")
        with pytest.raises(grpc.RpcError) as failure:
            STREAMS[kind](method)
        assert failure.value.code() is grpc.StatusCode.UNAUTHENTICATED
        renewing.wait(20, after=first)
        assert STREAMS[kind](method)


@pytest.mark.parametrize("kind", ["unary_stream", "stream_unary", "stream_stream"])
def test_grpc_aio_fails_where_the_call_is_a_stream(
    renewing: TokenReceiver, api: StrictApi, kind: str
) -> None:
    async def call(channel: grpc.aio.Channel) -> bytes:
        name = "".join(word.title() for word in kind.split("_"))
        method = getattr(channel, kind)(f"/strict/{name}")
        started = method(b"ab" if kind == "unary_stream" else async_generator())
        if kind == "stream_unary":
            return bytes(await started)
        return b"".join([part async for part in started])

    async def main() -> bytes:
        interceptors = tokenrelay.grpc.aio_interceptors(renewing, timeout=20)
        first = renewing.token
        async with grpc.aio.secure_channel(
            api.grpc_target, LOCAL, interceptors=interceptors
        ) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as failure:
                await call(channel)
            assert failure.value.code() is grpc.StatusCode.UNAUTHENTICATED
            await renewing.next(timeout=20, after=first)
            return await call(channel)

    assert asyncio.run(main()) == (b"ab" if kind == "unary_stream" else b"firstsecond")


def test_grpc_call_credentials_send_the_newest_token_on_each_call(
    receiver: TokenReceiver, sender: Sender, api: StrictApi
) -> None:
    credentials = grpc.composite_channel_credentials(
        LOCAL, tokenrelay.grpc.call_credentials(receiver, timeout=0.01)
    )
    with grpc.secure_channel(api.grpc_target, credentials) as channel:
        method = channel.unary_unary("/strict/UnaryUnary")
        with pytest.raises(grpc.RpcError, match="no valid token"):
            method(b"a")
        sender.send("refused")
        with pytest.raises(grpc.RpcError, match="unknown"):
            method(b"a")
        sender.send(api.access_token)
        assert method(b"a") == b"a"


def test_grpc_keeps_call_credentials_off_an_insecure_channel(
    receiver: TokenReceiver, sender: Sender, api: StrictApi
) -> None:
    sender.send(api.access_token)
    before = api.report()
    with grpc.insecure_channel(f"127.0.0.1:{api.insecure_grpc_port}") as channel:
        with pytest.raises(grpc.RpcError, match="security level"):
            channel.unary_unary("/strict/UnaryUnary")(
                b"a", credentials=tokenrelay.grpc.call_credentials(receiver)
            )
    assert api.report() == before


def test_grpc_calls_an_insecure_channel_too(renewing: TokenReceiver, api: StrictApi) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{api.insecure_grpc_port}") as channel:
        auth = tokenrelay.grpc.TokenAuth(renewing, timeout=20)
        intercepted = grpc.intercept_channel(channel, auth)
        metadata = [("authorization", "Bearer other"), ("trace", "1")]
        method = intercepted.unary_unary("/strict/UnaryUnary")
        assert method(b"a", metadata=metadata) == b"a"
