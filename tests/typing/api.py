"""The whole public interface as programs use it. Type checkers read it; nothing runs it."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import assert_type

import aiohttp
import grpc
import grpc.aio
import httpx
import httpx2
import requests

import tokenrelay
import tokenrelay.aiohttp
import tokenrelay.grpc
import tokenrelay.httpx
import tokenrelay.httpx2
import tokenrelay.requests
from tokenrelay import (
    ForkedReceiver,
    ReceiverError,
    ReceiverStats,
    ReceiverStopped,
    Subscription,
    Token,
    TokenExpired,
    TokenReceiver,
    TokenRelayError,
    TokenTimeout,
)

assert_type(tokenrelay.__version__, str)


def construct() -> None:
    TokenReceiver()
    TokenReceiver("schwab")
    TokenReceiver(path="/tmp/bot.sock")
    TokenReceiver(path=Path("/tmp/bot.sock"), busy_poll=True, cpu=1, allow_uids=[1000], mode=0o660)
    function = ctypes.CFUNCTYPE(None)()
    TokenReceiver("schwab", busy_poll=0.5, keep_refresh_token=True, on_native=function)


def receive(receiver: TokenReceiver) -> None:
    with receiver as entered:
        assert_type(entered, TokenReceiver)
    assert_type(receiver.start(), TokenReceiver)
    assert_type(receiver.token, Token | None)
    token = receiver.wait()
    assert_type(token, Token)
    assert_type(receiver.wait(10, after=token), Token)
    assert_type(receiver.subscribe(print), Subscription)
    receiver.subscribe(lambda token: token.authorization).cancel()
    receiver.request_refresh(token)
    assert_type(receiver.running, bool)
    assert_type(receiver.forked, bool)
    assert_type(receiver.path, str)
    receiver.stop()


def read(token: Token) -> None:
    assert_type(token.access_token, str)
    assert_type(token.authorization, str)
    assert_type(token.refresh_token, str | None)
    assert_type(token.scope, str | None)
    assert_type(token.account, str | None)
    assert_type(token.expires_at, int)
    assert_type(token.expires_in, float)
    assert_type(token.expired, bool)
    assert_type(token.issued_at, int | None)
    assert_type(token.grant_expires_at, int | None)
    assert_type(token.generation, int)
    assert_type(token.serial, int | None)
    assert_type(token.received_at_ns, int)


def count(receiver: TokenReceiver) -> None:
    stats = receiver.stats
    assert_type(stats, ReceiverStats)
    assert_type(stats.published, int)
    assert_type(stats.refused, Mapping[str, int])
    assert_type(stats.membarrier, bool)


async def receive_in_a_loop(receiver: TokenReceiver) -> None:
    async with receiver as entered:
        assert_type(entered, TokenReceiver)
        token = await receiver.next()
        assert_type(await receiver.next(timeout=1.5, after=token), Token)
        assert_type(receiver.updates(), AsyncIterator[Token])
        async for newer in receiver.updates():
            assert_type(newer, Token)


def fail(receiver: TokenReceiver) -> None:
    with contextlib.suppress(TokenTimeout, TokenExpired, ReceiverStopped, ForkedReceiver):
        receiver.wait(0)
    try:
        receiver.start()
    except ReceiverError as error:
        assert_type(error.errno, int | None)
    except TokenRelayError:
        raise


def call_with_httpx(receiver: TokenReceiver) -> None:
    httpx.Client(auth=tokenrelay.httpx.TokenAuth(receiver))
    httpx.AsyncClient(auth=tokenrelay.httpx.TokenAuth(receiver, timeout=2.5))
    httpx2.Client(auth=tokenrelay.httpx2.TokenAuth(receiver))
    httpx2.AsyncClient(auth=tokenrelay.httpx2.TokenAuth(receiver, timeout=2.5))


def call_with_requests(receiver: TokenReceiver) -> None:
    session = requests.Session()
    session.auth = tokenrelay.requests.TokenAuth(receiver, timeout=2.5)
    session.get("https://api.example.com", auth=tokenrelay.requests.TokenAuth(receiver))


async def call_with_aiohttp(receiver: TokenReceiver) -> None:
    auth = tokenrelay.aiohttp.TokenAuth(receiver, origin="https://api.example.com", timeout=2.5)
    async with aiohttp.ClientSession(middlewares=(auth,)) as session:
        await session.get("/", middlewares=(tokenrelay.aiohttp.TokenAuth(receiver),))


def call_with_grpc(receiver: TokenReceiver) -> None:
    channel = grpc.secure_channel("api.example.com", grpc.ssl_channel_credentials())
    grpc.intercept_channel(channel, tokenrelay.grpc.TokenAuth(receiver, timeout=2.5))
    credentials = tokenrelay.grpc.call_credentials(receiver, timeout=2.5)
    assert_type(credentials, grpc.CallCredentials)
    grpc.aio.secure_channel(
        "api.example.com",
        grpc.composite_channel_credentials(grpc.ssl_channel_credentials(), credentials),
        interceptors=tokenrelay.grpc.aio_interceptors(receiver, timeout=2.5),
    )
