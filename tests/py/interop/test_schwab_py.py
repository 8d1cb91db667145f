"""schwab-py's real client on a receiver: the newest token on each request, and no refresh."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from interop_support import API_KEY, Feeder

from support.documents import blocks_of
from support.programs import TOKENRELAY
from tokenrelay import TokenExpired, TokenReceiver, TokenTimeout, schwab_py

if TYPE_CHECKING:
    from interop_support import Schwab

    from support.command import Run
    from support.host import Host
    from support.programs import Start


def sync_client(receiver: TokenReceiver, server: Schwab, **options: Any) -> Any:
    client = schwab_py.client(receiver, API_KEY, **options)
    client.session.event_hooks = {"request": [server.redirect]}
    return client


def test_a_client_survives_three_rotations_by_a_running_sender(
    configured: Host,
    schwab_api: Schwab,
    start: Start,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each grant revokes the token before it, and each lives 2 minutes: schwab-py alone would
    refresh at 300 s left, or refuse to send."""
    schwab_api.lifetime = 120
    login = schwab_api.grant()
    now = int(time.time())
    plain = {**login, "expires_at": now + 120, "issued_at": now, "granted_at": now - 86400}
    run("import", "-", stdin=json.dumps(plain))
    start(*TOKENRELAY, "run").wait_for_event("ready")
    monkeypatch.setenv("TOKENRELAY_RUNTIME_DIR", str(configured.runtime))
    with TokenReceiver("schwab") as receiver:
        client = sync_client(receiver, schwab_api, timeout=20)
        assert client.get_account_numbers().status_code == 200
        for _ in range(3):
            before = receiver.wait(20)
            run("refresh")
            receiver.wait(20, after=before)
            assert client.get_account_numbers().status_code == 200
        assert client.token_age() == pytest.approx(86400, abs=60)
        client.session.close()
    assert schwab_api.granted == 4
    assert schwab_api.grants == ["refresh_token"] * 3  # the sender's, none of the client's
    assert [status for _, status in schwab_api.calls] == [200] * 4
    assert len({sent for sent, _ in schwab_api.calls}) == 4


def test_the_recipe_of_the_documents_runs(
    host: Host, schwab_api: Schwab, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (recipe,) = blocks_of(__file__).values()
    monkeypatch.setenv("TOKENRELAY_RUNTIME_DIR", str(host.runtime))
    make_client = schwab_py.client

    def client(*arguments: Any) -> Any:
        run("send", schwab_api.access_token, "--account", "schwab")
        made = make_client(*arguments)
        made.session.event_hooks = {"request": [schwab_api.redirect]}
        return made

    monkeypatch.setattr(schwab_py, "client", client)
    names: dict[str, Any] = {"api_key": API_KEY}
    exec(recipe.text, names)
    names["client"].session.close()
    assert [status for _, status in schwab_api.calls] == [200]


def test_a_stream_logs_in_with_the_newest_token(
    receiver: TokenReceiver, feeder: Feeder, schwab_api: Schwab
) -> None:
    feeder.deliver("access-1")
    client = sync_client(receiver, schwab_api)
    feeder.deliver("access-2")
    assert client.token_metadata.token["access_token"] == "access-2"
    client.session.close()


def test_a_401_asks_for_a_refresh_and_the_request_is_sent_again(
    receiver: TokenReceiver, feeder: Feeder, schwab_api: Schwab
) -> None:
    feeder.deliver("revoked", serial=7)
    client = sync_client(receiver, schwab_api, timeout=20)
    answers: list[int] = []
    calling = threading.Thread(
        target=lambda: answers.append(client.place_order("hash", {"order": 1}).status_code)
    )
    calling.start()
    assert feeder.next_line() == {"request": "refresh", "serial": 7}
    schwab_api.grant()
    feeder.deliver(schwab_api.access_token, serial=8)
    calling.join()
    assert answers == [200]
    assert [status for _, status in schwab_api.calls] == [401, 200]
    client.session.close()


def test_a_401_stays_one_where_no_newer_token_comes(
    receiver: TokenReceiver, feeder: Feeder, schwab_api: Schwab
) -> None:
    feeder.deliver("revoked", serial=7)
    client = sync_client(receiver, schwab_api, timeout=0.05)
    assert client.get_account_numbers().status_code == 401
    client.session.close()


def test_an_expired_token_is_never_sent(
    receiver: TokenReceiver, feeder: Feeder, schwab_api: Schwab
) -> None:
    feeder.deliver("short", expires_in=2)
    client = sync_client(receiver, schwab_api, timeout=0.05)
    with pytest.raises(TokenTimeout):
        receiver.wait(4, after=receiver.wait(1))
    with pytest.raises(TokenExpired):
        client.get_account_numbers()
    assert schwab_api.calls == []
    client.session.close()


def test_without_a_token_the_client_is_not_built(receiver: TokenReceiver) -> None:
    with pytest.raises(TokenTimeout):
        schwab_py.client(receiver, API_KEY, timeout=0.01)


def test_the_async_client_follows_and_tries_once_more(
    receiver: TokenReceiver, feeder: Feeder, schwab_api: Schwab
) -> None:
    async def redirect(request: Any) -> None:
        schwab_api.redirect(request)

    async def trade() -> list[int]:
        client = schwab_py.client(receiver, API_KEY, asyncio=True, timeout=20)
        client.session.event_hooks = {"request": [redirect]}
        call = asyncio.create_task(client.get_account_numbers())
        assert await asyncio.to_thread(feeder.next_line) == {"request": "refresh", "serial": 7}
        schwab_api.grant()
        await asyncio.to_thread(feeder.deliver, schwab_api.access_token, serial=8)
        first = await call
        schwab_api.grant()
        await asyncio.to_thread(feeder.deliver, schwab_api.access_token, serial=9)
        second = await client.get_account_numbers()
        await client.close_async_session()
        return [first.status_code, second.status_code]

    feeder.deliver("revoked", serial=7)
    assert asyncio.run(trade()) == [200, 200]
    assert [status for _, status in schwab_api.calls] == [401, 200, 200]
