"""What each adapter does with a refused, an expired, and no token at all."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING

import pytest
from adapters_support import ASYNC, OK, UNAUTHORIZED, outlive

from support.raw_sender import deliver
from tokenrelay import TokenExpired, TokenReceiver, TokenTimeout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adapters_support import MakeCalls, OpenAsync

    from support.raw_sender import Sender
    from support.strict import StrictApi


@pytest.fixture(scope="module")
def outlived(tmp_path_factory: pytest.TempPathFactory, api: StrictApi) -> Iterator[TokenReceiver]:
    """A receiver whose token, a good one, has expired."""
    with TokenReceiver(path=tmp_path_factory.mktemp("r") / "r.sock") as receiver:
        deliver(receiver, api.access_token, expires_at=int(time.time()) + 2)
        outlive(receiver)
        yield receiver


def test_a_refused_call_asks_for_a_refresh_of_its_token_and_is_made_again(
    make_calls: MakeCalls, api: StrictApi, receiver: TokenReceiver, sender: Sender
) -> None:
    sender.send("refused", serial=7)
    statuses: list[int] = []
    calling = threading.Thread(
        target=lambda: make_calls(receiver, api, 1, statuses.append, parallel=1)
    )
    calling.start()
    assert sender.next_line() == {"request": "refresh", "serial": 7}
    sender.send(api.access_token, serial=8)
    calling.join()
    assert statuses == [OK]


def test_where_no_newer_token_comes_the_refusal_is_the_callers(
    make_calls: MakeCalls, api: StrictApi, receiver: TokenReceiver, sender: Sender
) -> None:
    sender.send("refused", serial=7)
    statuses: list[int] = []
    make_calls(receiver, api, 3, statuses.append, parallel=3, timeout=0.05)
    assert statuses == [UNAUTHORIZED] * 3
    assert sender.next_line() == {"request": "refresh", "serial": 7}


def test_a_call_waits_for_the_first_token(
    make_calls: MakeCalls, api: StrictApi, receiver: TokenReceiver, sender: Sender
) -> None:
    statuses: list[int] = []
    calling = threading.Thread(
        target=lambda: make_calls(receiver, api, 1, statuses.append, parallel=1, timeout=20)
    )
    calling.start()
    sender.send(api.access_token)
    calling.join()
    assert statuses == [OK]


def test_without_a_token_nothing_is_sent(
    make_calls: MakeCalls, api: StrictApi, receiver: TokenReceiver
) -> None:
    before = api.report()
    with pytest.raises(TokenTimeout):
        make_calls(receiver, api, 1, print, parallel=1, timeout=0.01)
    assert api.report() == before


def test_an_expired_token_is_not_sent(
    make_calls: MakeCalls, api: StrictApi, outlived: TokenReceiver
) -> None:
    before = api.report()
    with pytest.raises(TokenExpired):
        make_calls(outlived, api, 1, print, parallel=1, timeout=0.01)
    assert api.report() == before


@pytest.mark.parametrize("open_client", ASYNC.values(), ids=ASYNC)
def test_a_waiting_call_leaves_the_loop_free(
    open_client: OpenAsync, api: StrictApi, receiver: TokenReceiver, sender: Sender
) -> None:
    """What the calls wait for, first a token and then a newer one, comes from their own loop."""

    async def main() -> int:
        async with open_client(receiver, api, timeout=20) as call:
            calling = asyncio.create_task(call())
            await asyncio.sleep(0)
            await asyncio.to_thread(sender.send, "refused", serial=7)
            asked = await asyncio.to_thread(sender.next_line)
            assert asked == {"request": "refresh", "serial": 7}
            await asyncio.to_thread(sender.send, api.access_token, serial=8)
            return await calling

    assert asyncio.run(main()) == OK


@pytest.mark.parametrize("open_client", ASYNC.values(), ids=ASYNC)
def test_a_waiting_call_can_be_cancelled(
    open_client: OpenAsync, api: StrictApi, receiver: TokenReceiver, sender: Sender
) -> None:
    sender.send("refused", serial=7)

    async def main() -> int:
        async with open_client(receiver, api, timeout=20) as call:
            calling = asyncio.create_task(call())
            await asyncio.to_thread(sender.next_line)
            calling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await calling
            await asyncio.to_thread(sender.send, api.access_token, serial=8)
            return await call()

    assert asyncio.run(main()) == OK
