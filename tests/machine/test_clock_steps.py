"""A whole sender on a real kernel whose clock is set and which is suspended."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sender_support import stored

from support.programs import RECEIVE, TOKENRELAY
from tokenrelay.sender.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender_support import Provider

    from support.host import Host
    from support.programs import Program, Start

HOUR = 3600.0
SENDER = (sys.executable, Path(__file__).with_name("patient_sender.py"), "run")
CONFIGURATION = """\
[accounts.main]
client_id = "me"
client_auth = "none"
token_url = "{url}"
[sender]
log_format = "json"
"""


def step(seconds: float) -> None:
    time.clock_settime(time.CLOCK_REALTIME, time.time() + seconds)


def suspend() -> None:
    """To memory; the machine's battery clock says eight hours later when it wakes."""
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    Path("/sys/power/state").write_text("mem")
    assert time.clock_gettime(time.CLOCK_BOOTTIME) - before >= 8 * HOUR


@pytest.fixture
def receiver(start: Start) -> Program:
    receiver = start(*RECEIVE)
    receiver.wait_for_event("ready")
    return receiver


@pytest.fixture
def sender(host: Host, provider: Provider, start: Start, receiver: Program) -> Program:
    """A sender that has delivered a token of 30 minutes, and sleeps."""
    host.config.touch(mode=0o600)
    host.config.write_text(CONFIGURATION.format(url=provider.token_url))
    host.state.mkdir(mode=0o700)
    now = int(time.time())
    Vault(host.token_file()).store(stored(expires_at=now + 1800, issued_at=now))
    sender = start(*SENDER)
    sender.wait_for_event("ready")
    receiver.wait_for_event("token")
    return sender


def next_refresh(host: Host, start: Start) -> tuple[int, float]:
    """How many refreshes there were, and in how many seconds the next one is."""
    status = start(*TOKENRELAY, "status", "--json")
    assert status.wait() == 0, status.output
    told = json.loads("".join(line.text for line in status.lines if line.stream == "out"))
    (account,) = told["accounts"]
    return account["refreshes"], account["next_refresh_at"] - time.time()


@pytest.mark.parametrize("jump", [
    pytest.param(lambda: step(HOUR), id="an hour forward"),
    pytest.param(lambda: step(10 * 365.25 * 24 * HOUR), id="ten years forward"),
    pytest.param(suspend, id="suspended for eight hours"),
])  # fmt: skip
def test_what_ends_the_token_causes_one_refresh_at_once(
    jump: Callable[[], None], host: Host, start: Start, provider: Provider, sender: Program,
    receiver: Program,
) -> None:  # fmt: skip
    first = receiver.wait_for_event("token")
    jump()
    receiver.wait_for_event("token", after=first)
    sender.wait_for_event("clock set, or back from a suspend")
    refreshes, wait = next_refresh(host, start)
    assert (provider.requests, refreshes) == (1, 1)
    assert 1400 < wait < 1500


def test_clock_set_back_wakes_the_sender_and_costs_nothing(
    host: Host, start: Start, provider: Provider, sender: Program
) -> None:
    step(-HOUR)
    sender.wait_for_event("clock set, or back from a suspend")
    refreshes, wait = next_refresh(host, start)
    assert (provider.requests, refreshes) == (0, 0)
    assert 1400 < wait < 1500


def test_a_clock_that_swings_costs_one_refresh(
    host: Host, start: Start, provider: Provider, sender: Program, receiver: Program
) -> None:
    """Each step wakes; only the first one ends a token."""
    first, woken = receiver.wait_for_event("token"), None
    for count in range(20):
        step(-HOUR if count % 2 else HOUR)
        woken = sender.wait_for_event("clock set, or back from a suspend", after=woken)
        receiver.wait_for_event("token", after=first)
    refreshes, _ = next_refresh(host, start)
    assert (provider.requests, refreshes) == (1, 1)
