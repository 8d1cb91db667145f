"""What may have been spent already waits neither for the disk nor for others' turns."""

from __future__ import annotations

import threading
from random import Random
from typing import TYPE_CHECKING

import anyio
import pytest
import structlog
from anyio.to_thread import run_sync
from sender_support import FakeClock, Provider, account, stored

from tokenrelay.sender.journal import Intent, Journal, current_boot_id
from tokenrelay.sender.oauth import TokenEndpoint
from tokenrelay.sender.refresher import Refresher
from tokenrelay.sender.tokens import fingerprint
from tokenrelay.sender.turns import ProviderTurns
from tokenrelay.sender.vault import Vault

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]


@pytest.fixture
def provider(provider: Provider) -> Provider:
    """Its answers are held until the test lets them go."""
    provider.grace, provider.hold = True, threading.Event()
    return provider


class Login:
    """One login, expired, and its refresher."""

    def __init__(self, path: Path, provider: Provider, turns: ProviderTurns) -> None:
        self.clock, self.vault, self._provider = FakeClock(), Vault(path), provider
        self.vault.store(stored())
        settings = account(path, provider.token_url)
        self._refresher = Refresher(
            settings,
            self.vault,
            TokenEndpoint(settings),
            publish=lambda _: None,
            clock=self.clock,
            random=Random(1),
            log=structlog.get_logger(),
            turns=turns,
        )

    async def refresh(self) -> None:
        await self._refresher.refresh_now(reason="test")

    def lose_an_answer(self, seconds_ago: float) -> None:
        """As a kill between request and answer leaves it."""
        self._provider.generation += 1
        at = self.clock.wall_now - seconds_ago, self.clock.boot_now - seconds_ago
        intent = Intent(fingerprint("refresh-0"), *at, current_boot_id())
        with self.vault.transaction() as transaction:
            transaction.write_journal(Journal(intent=intent))

    @property
    def refresh_token(self) -> str | None:
        token = self.vault.load()
        assert token is not None
        return token.refresh_token


@pytest.fixture
def turns() -> ProviderTurns:
    return ProviderTurns()


@pytest.fixture
def login(tmp_path: Path, provider: Provider, turns: ProviderTurns) -> Login:
    return Login(tmp_path / "main.json", provider, turns)


async def occupy(*limiters: anyio.CapacityLimiter) -> None:
    """As so many other accounts do."""
    for limiter in limiters:
        while limiter.available_tokens:
            await limiter.acquire_on_behalf_of(object())


async def asked(provider: Provider) -> None:
    assert await run_sync(provider.asked.acquire, True, 20)


def answer(provider: Provider) -> None:
    assert provider.hold is not None
    provider.hold.set()


async def test_a_lost_answer_is_asked_for_again_though_the_disk_takes_nothing(
    login: Login, provider: Provider, turns: ProviderTurns
) -> None:
    provider.lose = 1
    async with anyio.create_task_group() as group:
        group.start_soon(login.refresh)
        await asked(provider)
        await occupy(turns.disk.intents, turns.disk.answers)
        answer(provider)
        await asked(provider)
        turns.disk.answers.total_tokens += 1
    assert login.refresh_token == "refresh-2"
    assert len(login.vault.load_journal().requests) == 1  # of the budget, as each burst


async def test_a_new_token_is_saved_before_others_are_asked_for(
    login: Login, provider: Provider, turns: ProviderTurns
) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(login.refresh)
        await asked(provider)
        await occupy(turns.disk.intents)
        answer(provider)
    assert login.refresh_token == "refresh-1"


async def test_an_answer_lost_before_a_restart_is_asked_for_ahead_of_the_others(
    login: Login, provider: Provider, turns: ProviderTurns
) -> None:
    login.lose_an_answer(seconds_ago=9)
    answer(provider)
    await occupy(turns.fresh, turns.disk.intents)
    await login.refresh()
    assert login.refresh_token == "refresh-2"


@pytest.mark.parametrize("kind", ["fresh", "intents"])
async def test_others_wait_for_their_turn(
    tmp_path: Path, login: Login, provider: Provider, turns: ProviderTurns, kind: str
) -> None:
    """Those where nothing was lost, and those where it is too late."""
    other = Login(tmp_path / "other.json", provider, turns)
    other.lose_an_answer(seconds_ago=11)
    limiter = turns.fresh if kind == "fresh" else turns.disk.intents
    await occupy(limiter)
    async with anyio.create_task_group() as group:
        group.start_soon(login.refresh)
        group.start_soon(other.refresh)
        while limiter.statistics().tasks_waiting < 2:
            await anyio.lowlevel.checkpoint()
        assert provider.requests == 0
        group.cancel_scope.cancel()


async def test_the_grace_is_counted_from_the_request_not_from_the_wait_for_the_disk(
    login: Login, provider: Provider, turns: ProviderTurns
) -> None:
    await occupy(turns.disk.intents)
    async with anyio.create_task_group() as group:
        group.start_soon(login.refresh)
        while not turns.disk.intents.statistics().tasks_waiting:
            await anyio.lowlevel.checkpoint()
        login.clock.advance(30)
        turns.disk.intents.total_tokens += 1
        await asked(provider)
        intent = login.vault.load_journal().intent
        answer(provider)
    assert intent is not None
    assert intent.age(login.clock) == 0
