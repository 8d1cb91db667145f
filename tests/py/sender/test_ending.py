"""The sender's end: what it waits for, and how to have it end all the same."""

from __future__ import annotations

import json
import os
import select
import signal
import threading
import time
from typing import TYPE_CHECKING

import anyio
import pytest
import structlog
from sender_support import Provider, response

from support.host import write_private
from support.listener import Listener, socket_name
from support.programs import TOKENRELAY
from support.refusing_disk import sender_with_an_unsaved_token
from tokenrelay.sender import ending
from tokenrelay.sender.service_manager import ServiceManager

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.host import Host
    from support.programs import Program, Start

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def provider(provider: Provider) -> Provider:
    provider.grace = True
    return provider


def prepare(host: Host, provider: Provider, *, life: int = -1, settings: str = "") -> None:
    """A login whose token has ``life`` seconds left, and a request that nobody hurries."""
    now = int(time.time())
    host.state.mkdir(mode=0o700)
    token = {"access_token": "access-0", "refresh_token": "refresh-0", "issued_at": now - 1,
             "expires_at": now + life}  # fmt: skip
    write_private(host.token_file("main"), json.dumps(token))
    write_private(
        host.config,
        f'[accounts.main]\nclient_id = "c"\ntimeout = "90s"\ntoken_url = "{provider.token_url}"\n'
        f'{settings}\n[sender]\nlog_format = "json"\n',
    )


def end(sender: Program) -> None:
    assert sender.terminate() == 0
    begun, ended = sender.wait_for_event("ending"), sender.wait_for_event("ended")
    assert ended.seen_ns - begun.seen_ns < 1e9
    assert not [line for line in sender.lines if "waiting for an answer" in line.text]


def signal_until_it_ends(sender: Program) -> None:
    """As somebody does who will not wait."""
    process = os.pidfd_open(sender.pid)
    try:
        for _ in range(200):
            signal.pidfd_send_signal(process, signal.SIGTERM)
            if select.select([process], [], [], 0.1)[0]:
                return
    finally:
        os.close(process)
    raise AssertionError(sender.output)


def test_a_second_signal_ends_it_at_once_and_the_next_start_asks_for_the_answer_again(
    host: Host, provider: Provider, start: Start
) -> None:
    provider.hold = threading.Event()
    prepare(host, provider)
    sender = start(*TOKENRELAY, "run")
    assert provider.asked.acquire(timeout=30)
    sender.wait_for_event("ready")
    os.kill(sender.pid, signal.SIGTERM)
    told = sender.wait_for(lambda line: "waiting for an answer" in line.text).fields
    assert (told["accounts"], told["at_most_s"]) == (["main"], 90)
    assert "a second signal ends at once" in told["hint"]
    signal_until_it_ends(sender)
    assert sender.wait() == -signal.SIGTERM
    sender.wait_for_event("ended at once")
    assert host.stored_token()["refresh_token"] == "refresh-0"
    provider.hold.set()
    after = start(*TOKENRELAY, "run")
    stored = after.wait_for_event("token in service")
    after.wait_for_event("token in service", after=stored)
    assert host.stored_token()["refresh_token"] == "refresh-2"


def test_a_token_that_its_disk_does_not_take_is_not_dropped_without_a_word(
    host: Host, provider: Provider, start: Start
) -> None:
    prepare(host, provider)
    with sender_with_an_unsaved_token(host, start) as (program, sender):
        os.kill(sender, signal.SIGTERM)
        told = program.wait_for(lambda line: "in memory alone" in line.text)
        assert told.fields["accounts"] == ["main"]
        last = program.wait_for_event("token not saved", after=told).fields
        assert last["level"] == "critical"
        assert "tokenrelay login main" in last["hint"]
        assert program.wait() == 0


def test_it_ends_while_it_waits_to_try_again(host: Host, provider: Provider, start: Start) -> None:
    provider.script.append(response(503, {}, "Retry-After: 3600"))
    prepare(host, provider)
    sender = start(*TOKENRELAY, "run")
    sender.wait_for_event("ready")
    sender.wait_for_event("refresh failed")
    end(sender)


def test_it_ends_while_a_receiver_does_not_answer(
    host: Host, provider: Provider, start: Start
) -> None:
    prepare(host, provider, life=1800)
    directory = host.runtime / "main"
    host.runtime.mkdir(mode=0o700)
    directory.mkdir(mode=0o700)
    with Listener(directory / socket_name(), answer=lambda _frame: None) as listener:
        sender = start(*TOKENRELAY, "run")
        sender.wait_for_event("ready")
        assert listener.next_frame()["access_token"] == "access-0"
        end(sender)


def test_it_ends_while_a_command_of_the_users_hangs(
    host: Host, provider: Provider, start: Start
) -> None:
    fifo = host.root / "begun"
    os.mkfifo(fifo)
    hook = ["sh", "-c", f"echo begun > {fifo}; trap '' TERM; sleep 90"]
    prepare(host, provider, settings=f"on_event = {json.dumps(hook)}")
    sender = start(*TOKENRELAY, "run")
    sender.wait_for_event("ready")
    assert fifo.read_text() == "begun\n"
    end(sender)


def test_a_signal_that_comes_twice_at_once_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[int] = []
    monkeypatch.setattr(ending.os, "kill", lambda _pid, number: killed.append(number))

    async def twice() -> AsyncIterator[signal.Signals]:
        yield signal.SIGINT
        yield signal.SIGINT

    async def follow() -> bool:
        scope = anyio.CancelScope()
        log = structlog.get_logger()
        one = ending.Ending(scope, lambda: (), manager=ServiceManager({}), log=log)
        await one.follow(twice())
        return scope.cancel_called

    assert anyio.run(follow)
    assert killed == []
