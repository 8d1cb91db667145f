"""`on_event` from what happens to what the command is told, through a real sender."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from sender_support import Provider, response

from support.listener import Listener, socket_name
from support.programs import TOKENRELAY
from support.waiting import wait_until
from tokenrelay.sender import control

if TYPE_CHECKING:
    from support.host import Host
    from support.programs import Program, Start

TELL = """
import json, os, sys
with open(sys.argv[1] + ".new", "w") as file:
    json.dump({"words": sys.argv, "environment": dict(os.environ)}, file)
os.rename(sys.argv[1] + ".new", sys.argv[1])
"""
CLIENT_SECRET = "the-client-secret"


def configure(host: Host, provider: Provider, *command: str) -> None:
    values = {
        "client_id": "me",
        "client_secret": CLIENT_SECRET,
        "token_url": provider.token_url,
        "rotation_grace": "0s",
        "on_event": list(command),
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    host.config.touch(mode=0o600)
    host.config.write_text(
        "\n".join(["[accounts.main]", *lines, "[sender]", 'log_format = "json"', ""])
    )


def store(host: Host, *, expires_in: int = 1800, **changes: Any) -> None:
    now = int(time.time())
    token = {
        "access_token": "access-0",
        "refresh_token": "refresh-0",
        "serial": now * 1000,
        "issued_at": now,
        "granted_at": now - 86400,
        "expires_at": now + expires_in,
        **changes,
    }
    host.state.mkdir(mode=0o700)
    host.token_file().touch(mode=0o600)
    host.token_file().write_text(json.dumps(token))


def run(start: Start) -> Program:
    sender = start(*TOKENRELAY, "run")
    sender.wait_for_event("ready")
    return sender


def refresh(host: Host) -> dict[str, Any]:
    request = {"command": "refresh", "account": "main"}
    reply = control.call(request, timeout=20, directories=(host.runtime,))
    assert reply is not None
    return reply


def listen(host: Host) -> Listener:
    directory = host.runtime / "main"
    directory.mkdir(mode=0o700, parents=True)
    host.runtime.chmod(0o700)
    return Listener(directory / socket_name())


def lose_a_receiver(host: Host, provider: Provider, start: Start) -> None:
    store(host)
    listener = listen(host)
    sender = run(start)
    listener.next_frame()
    # The account's watch looks every other second, and can only lose what it has seen.
    refresh(host)
    wait_until((host.root / "token_refreshed").exists, host.root)
    listener.close()
    sender.wait_for_event("receiver lost")


def refresh_well(host: Host, provider: Provider, start: Start) -> None:
    store(host)
    run(start)
    assert refresh(host)["ok"]


def refresh_in_vain(host: Host, provider: Provider, start: Start) -> None:
    store(host, expires_in=-1)
    provider.script.extend([response(503, {})] * 20)
    run(start)


def lose_sight_of_the_token_file(host: Host, provider: Provider, start: Start) -> None:
    store(host)
    host.token_file().chmod(0o644)
    run(start)


def come_to_the_logins_end(host: Host, provider: Provider, start: Start) -> None:
    store(host, grant_expires_at=int(time.time()) + 3600)
    run(start)


def be_refused_for_good(host: Host, provider: Provider, start: Start) -> None:
    store(host, expires_in=-1)
    provider.script.append(response(400, {"error": "invalid_grant"}))
    run(start)


@pytest.mark.parametrize(
    ("event", "happen"),
    [
        ("token_refreshed", refresh_well),
        ("refresh_failing", refresh_in_vain),
        ("refresh_failing", lose_sight_of_the_token_file),
        ("login_ends_soon", come_to_the_logins_end),
        ("login_over", be_refused_for_good),
        ("receiver_lost", lose_a_receiver),
    ],
)
def test_each_event_is_told_once_it_happens_and_without_a_secret(
    host: Host, provider: Provider, start: Start, event: str, happen: Any
) -> None:
    command = (sys.executable, "-c", TELL, str(host.root / "{event}"), "{account}")
    configure(host, provider, *command)
    happen(host, provider, start)
    wait_until((host.root / event).exists, host.root)
    text = (host.root / event).read_text()
    told = json.loads(text)
    assert told["words"][1:] == [str(host.root / event), "main"]
    secrets = (CLIENT_SECRET, "access-0", "access-1", "refresh-0", "refresh-1")
    assert [secret for secret in secrets if secret in text] == []


def test_a_command_that_hangs_delays_neither_tokens_nor_the_end(
    host: Host, provider: Provider, start: Start
) -> None:
    fifo = host.root / "begun"
    os.mkfifo(fifo)
    configure(host, provider, "sh", "-c", f"echo {{event}} >{fifo}; exec sleep 600")
    store(host)
    with listen(host) as listener:
        sender = run(start)
        listener.next_frame()
        refresh(host)
        assert fifo.read_text() == "token_refreshed\n"
        assert listener.next_frame()["access_token"] == "access-1"
        refresh(host)
        assert listener.next_frame()["access_token"] == "access-2"
        assert sender.terminate() == 0
        ending, ended = sender.wait_for_event("ending"), sender.wait_for_event("ended")
    assert ended.seen_ns - ending.seen_ns < 1e9
