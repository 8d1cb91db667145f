"""How many refreshes are under way at once."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING

import pytest
from sender_support import Provider

from support.host import write_private
from support.programs import TOKENRELAY
from tokenrelay.sender.turns import REFRESHES_AT_ONCE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.host import Host
    from support.programs import Start

MORE = REFRESHES_AT_ONCE + 8


@pytest.fixture
def silent() -> Iterator[Provider]:
    """A provider that answers nothing until it is told to."""
    provider = Provider()
    provider.hold = threading.Event()
    yield provider
    provider.close()


@pytest.fixture
def healthy() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.close()


def add_account(host: Host, name: str, provider: Provider) -> str:
    """Store a login whose token is due; returns the account's table."""
    now = int(time.time())
    token = {"access_token": "access-0", "refresh_token": "refresh-0", "issued_at": now - 1790,
             "expires_at": now + 10}  # fmt: skip
    write_private(host.token_file(name), json.dumps(token))
    return (
        f'[accounts.{name}]\nclient_id = "c"\ntimeout = "30s"\ntoken_url = "{provider.token_url}"\n'
    )


def test_a_silent_provider_is_asked_by_so_many_at_once_and_delays_no_other(
    host: Host, start: Start, silent: Provider, healthy: Provider
) -> None:
    host.state.mkdir(mode=0o700)
    tables = [add_account(host, f"silent{number}", silent) for number in range(MORE)]
    tables.append(add_account(host, "healthy", healthy))
    write_private(host.config, "\n".join([*tables, '[sender]\nlog_format = "json"\n']))
    sender = start(*TOKENRELAY, "run")
    for _ in range(REFRESHES_AT_ONCE):
        assert silent.asked.acquire(timeout=30)
    stored = sender.wait_for_event("token in service", account="healthy")
    sender.wait_for_event("token in service", account="healthy", after=stored)
    assert silent.requests == REFRESHES_AT_ONCE
    assert silent.hold is not None
    silent.hold.set()
    for _ in range(MORE - REFRESHES_AT_ONCE):
        assert silent.asked.acquire(timeout=30)
