"""Redirects: no token reaches another origin, and what has done its work is not sent again."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import aiohttp
import httpx
import httpx2
import pytest
import requests
from adapters_support import OK, UNAUTHORIZED

import tokenrelay.aiohttp
import tokenrelay.httpx
import tokenrelay.httpx2
import tokenrelay.requests
from support.strict import StrictApi

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.raw_sender import Sender
    from tokenrelay import TokenReceiver

    Send = Callable[[TokenReceiver, str, str], int]


@pytest.fixture(scope="module")
def stranger() -> Iterator[StrictApi]:
    """A server of another origin, which notes what it is sent."""
    started = StrictApi.start()
    yield started
    started.program.dispose()


@pytest.fixture
def fed_receiver(receiver: TokenReceiver, sender: Sender, api: StrictApi) -> TokenReceiver:
    sender.send(api.access_token, serial=1)
    return receiver


def send_httpx(library: Any, adapter: Any) -> Send:
    def send(receiver: TokenReceiver, method: str, url: str) -> int:
        auth = adapter.TokenAuth(receiver)
        with library.Client(auth=auth, follow_redirects=True) as client:
            status: int = client.request(method, url).status_code
            return status

    return send


def send_async_httpx(library: Any, adapter: Any) -> Send:
    def send(receiver: TokenReceiver, method: str, url: str) -> int:
        async def main() -> int:
            auth = adapter.TokenAuth(receiver)
            async with library.AsyncClient(auth=auth, follow_redirects=True) as client:
                status: int = (await client.request(method, url)).status_code
                return status

        return asyncio.run(main())

    return send


def send_requests(receiver: TokenReceiver, method: str, url: str) -> int:
    auth = tokenrelay.requests.TokenAuth(receiver)
    with requests.Session() as session:
        return int(session.request(method, url, auth=auth, timeout=30).status_code)


def send_aiohttp(receiver: TokenReceiver, method: str, url: str) -> int:
    async def main() -> int:
        auth = tokenrelay.aiohttp.TokenAuth(receiver)
        async with aiohttp.ClientSession(middlewares=(auth,)) as session:
            async with session.request(method, url) as response:
                return response.status

    return asyncio.run(main())


SENDS: dict[str, Send] = {
    "httpx": send_httpx(httpx, tokenrelay.httpx),
    "httpx-async": send_async_httpx(httpx, tokenrelay.httpx),
    "httpx2": send_httpx(httpx2, tokenrelay.httpx2),
    "httpx2-async": send_async_httpx(httpx2, tokenrelay.httpx2),
    "requests": send_requests,
    "aiohttp": send_aiohttp,
}


@pytest.fixture(params=SENDS)
def send(request: pytest.FixtureRequest) -> Send:
    return SENDS[request.param]


def redirect(api: StrictApi, to: str, status: int = 302) -> str:
    return f"{api.origin}/redirect/?{urlencode({'to': to, 'status': status})}"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_origin_carries_no_token(
    send: Send, fed_receiver: TokenReceiver, api: StrictApi, stranger: StrictApi, status: int
) -> None:
    before = len(stranger.report()["seen"])
    assert send(fed_receiver, "POST", redirect(api, f"{stranger.origin}/open/", status)) == OK
    seen = stranger.report()["seen"][before:]
    assert [each["authorization"] for each in seen] == [None]


def test_a_redirect_to_another_name_of_the_host_carries_no_token(
    send: Send, fed_receiver: TokenReceiver, api: StrictApi
) -> None:
    before = len(api.report()["seen"])
    target = f"http://localhost:{api.port}/open/"
    assert send(fed_receiver, "GET", redirect(api, target)) == OK
    assert [each["authorization"] for each in api.report()["seen"][before:]] == [None]


def test_a_refusal_by_another_origin_asks_for_no_refresh(
    send: Send, fed_receiver: TokenReceiver, api: StrictApi, stranger: StrictApi
) -> None:
    target = f"{stranger.origin}/open/?status=401"
    assert send(fed_receiver, "GET", redirect(api, target)) == UNAUTHORIZED
    assert fed_receiver.stats.refresh_requests == 0


def test_a_redirect_within_the_origin_carries_the_token(
    send: Send, fed_receiver: TokenReceiver, api: StrictApi
) -> None:
    assert send(fed_receiver, "GET", redirect(api, "/resource/")) == OK


def test_a_refusal_after_a_redirect_repeats_the_last_request_only(
    send: Send, fed_receiver: TokenReceiver, sender: Sender, api: StrictApi
) -> None:
    """The first, an order for instance, was carried out."""
    before = api.report()
    newer_comes = _answer_with(sender, api.access_token)
    try:
        assert send(fed_receiver, "POST", redirect(api, "/open/?status=401", 303)) == UNAUTHORIZED
    finally:
        newer_comes.join()
    after = api.report()
    assert after["calls"] == before["calls"] + 1
    assert [each["method"] for each in after["seen"][len(before["seen"]) :]] == ["GET", "GET"]


def _answer_with(sender: Sender, access_token: str) -> threading.Thread:
    def answer() -> None:
        assert sender.next_line() == {"request": "refresh", "serial": 1}
        sender.send(access_token, serial=2, expires_at=4_102_444_799)

    answering = threading.Thread(target=answer)
    answering.start()
    return answering


def test_aiohttp_serves_one_origin(
    fed_receiver: TokenReceiver, api: StrictApi, stranger: StrictApi
) -> None:
    """That of the first request, if none was named: aiohttp calls for a redirect as for any."""

    async def main() -> list[int]:
        first = tokenrelay.aiohttp.TokenAuth(fed_receiver)
        named = tokenrelay.aiohttp.TokenAuth(fed_receiver, origin=api.origin)
        async with aiohttp.ClientSession() as session:
            statuses = []
            for auth, url in [
                (first, api.resource_url),
                (first, f"{stranger.origin}/open/"),
                (named, f"{stranger.origin}/open/"),
                (named, api.resource_url),
            ]:
                async with session.get(url, middlewares=(auth,)) as response:
                    statuses.append(response.status)
            return statuses

    before = len(stranger.report()["seen"])
    assert asyncio.run(main()) == [OK] * 4
    assert [each["authorization"] for each in stranger.report()["seen"][before:]] == [None, None]


def test_aiohttp_wants_an_absolute_origin(receiver: TokenReceiver) -> None:
    with pytest.raises(ValueError, match="origin"):
        tokenrelay.aiohttp.TokenAuth(receiver, origin="api.example.com")
