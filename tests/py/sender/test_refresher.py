from __future__ import annotations

import errno
import json
import os
import threading
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any

import anyio
import keyring
import pytest
import structlog
from anyio.lowlevel import checkpoint
from keyring.errors import KeyringLocked
from sender_support import CLOSE, NOW, FakeClock, Provider, account, granted, response, stored

from tokenrelay.sender.errors import ConfigurationError, LoginNeeded, RefreshFailed
from tokenrelay.sender.journal import Intent, Journal, current_boot_id
from tokenrelay.sender.oauth import TokenEndpoint
from tokenrelay.sender.refresher import Refresher
from tokenrelay.sender.sealing import Seal
from tokenrelay.sender.tokens import TokenSet, fingerprint
from tokenrelay.sender.vault import Vault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tokenrelay.sender.oauth_response import Outcome
    from tokenrelay.sender.refresher_state import RefresherState

pytestmark = pytest.mark.anyio


class Bench:
    """A refresher on a token file, a clock that runs as fast as it sleeps, a real provider."""

    def __init__(self, folder: Path, provider: Provider) -> None:
        self.folder, self.provider, self.clock = folder, provider, FakeClock()
        self.path = folder / "main.json"
        self.vault = Vault(self.path, wall=self.clock.wall)
        self.published: list[TokenSet] = []
        self._stop_at = self.clock.boot_now
        self._passed, self._more = anyio.Event(), anyio.Event()

    def make(self, **changes: Any) -> Refresher:
        settings = account(self.path, self.provider.token_url, **changes)
        self.refresher = Refresher(
            settings,
            self.vault,
            TokenEndpoint(settings, clock=self.clock),
            publish=self._publish,
            clock=self.clock,
            random=Random(1),
            log=structlog.get_logger(),
            sleep=self._sleep,
        )
        return self.refresher

    async def _sleep(self, seconds: float) -> None:
        """Passes at once up to the end of the test's time, then waits for more of it."""
        self.clock.naps.append(seconds)
        # A clock of floats stands still where what is added is too little for it.
        end = self.clock.boot_now + max(seconds, 1e-6)
        while self.clock.boot_now < end:
            if self.clock.boot_now >= self._stop_at:
                self._passed.set()
                await self._more.wait()
            self.clock.advance(min(end, self._stop_at) - self.clock.boot_now)
            await checkpoint()

    def _publish(self, token: TokenSet) -> None:
        self.published.append(token)

    @asynccontextmanager
    async def running(self, **changes: Any) -> AsyncIterator[Refresher]:
        refresher = self.make(**changes)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(refresher.run)
            yield refresher
            tasks.cancel_scope.cancel()

    async def pass_time(self, seconds: float, *, jump: float = 0.0) -> None:
        """Lets that much time pass for the refresher; ``jump`` is a step of the wall clock."""
        self.clock.wall_now += jump
        self._stop_at = self.clock.boot_now + seconds
        self._passed = anyio.Event()
        more, self._more = self._more, anyio.Event()
        more.set()
        with anyio.fail_after(20):
            await self._passed.wait()

    def copy_file(self) -> Path:
        """Return a private copy of the token file as it is, on its file system."""
        copy = self.folder / "copy"
        copy.touch(0o600)
        copy.write_bytes(self.path.read_bytes())
        return copy

    async def until(self, condition: Callable[[], bool]) -> None:
        with anyio.fail_after(20):
            while not condition():
                await checkpoint()

    @property
    def state(self) -> RefresherState:
        return self.refresher.state

    @property
    def phase(self) -> str:
        return self.refresher.state.phase

    @property
    def tokens(self) -> list[str]:
        return [token.access_token for token in self.published]


def broken_disk(*_: object) -> bytes:
    raise OSError(errno.EIO, "Input/output error")


def broken_disk_after(provider: Provider) -> Callable[[int, int], None]:
    """An ftruncate(2) that fails once the provider has been asked."""
    whole = os.ftruncate

    def truncate(descriptor: int, length: int) -> None:
        if provider.requests:
            raise OSError(errno.EIO, "Input/output error")
        whole(descriptor, length)

    return truncate


@pytest.fixture
def bench(tmp_path: Path, provider: Provider) -> Bench:
    return Bench(tmp_path, provider)


async def test_stored_token_is_published_first_then_refreshed_at_25_of_30_minutes(
    bench: Bench, provider: Provider
) -> None:
    bench.vault.store(stored())
    async with bench.running():
        await bench.pass_time(1460)
        assert bench.tokens == ["access-0"]
        assert bench.phase == "ok"
        assert NOW + 1470 <= (bench.state.next_refresh_at or 0) <= NOW + 1500
        await bench.pass_time(60)
        assert bench.tokens == ["access-0", "access-1"]
        await bench.pass_time(3000)
    assert provider.requests == len(bench.published) - 1 == 3
    assert all(nap <= 30 for nap in bench.clock.naps)


async def test_renewed_token_keeps_the_login_time_and_is_on_disk_when_published(
    bench: Bench,
) -> None:
    saved = bench.vault.store(stored())
    async with bench.running(login_lifetime=604_800.0) as refresher:
        seen: list[TokenSet | None] = []
        refresher._held._publish = lambda _: seen.append(bench.vault.load())
        await bench.pass_time(1600)
        token = bench.state.token
    assert token is not None
    assert seen[-1] == token
    assert token.serial > saved.serial
    assert (token.refresh_token, token.granted_at) == ("refresh-1", NOW)
    assert token.grant_expires_at == NOW + 604_800
    assert token.issued_at is not None
    assert token.expires_at == token.issued_at + 1800


async def test_expired_token_is_not_published_but_refreshed_at_once(bench: Bench) -> None:
    bench.vault.store(stored(expires_at=NOW - 1, issued_at=NOW - 1801))
    async with bench.running():
        await bench.pass_time(1)
    assert bench.tokens == ["access-1"]


@pytest.mark.parametrize(
    "failure",
    [response(503, b""), response(403, b"<html>Access Denied</html>"), response(429, b""),
     response(200, b"<html>"), response(302, b""), response(400, {"error": "server_error"})],
)  # fmt: skip
async def test_valid_token_stays_in_service_while_the_provider_fails(
    bench: Bench, provider: Provider, failure: bytes
) -> None:
    bench.vault.store(stored())
    provider.script.extend([failure] * 9)
    async with bench.running():
        await bench.pass_time(1505)
        assert bench.phase == "retrying"
        assert bench.state.last_error
        assert bench.state.token is not None
        await bench.pass_time(290)
        assert bench.tokens[-1] == "access-1" or bench.phase == "retrying"
        await bench.pass_time(900)
    assert bench.tokens[:2] == ["access-0", "access-1"]
    assert bench.state.failures == 0
    assert provider.reuses == 0


async def test_unreachable_provider_is_asked_again_without_end_and_recovery_needs_no_restart(
    bench: Bench, provider: Provider
) -> None:
    bench.vault.store(stored())
    url, provider.token_url = provider.token_url, "http://127.0.0.1:1/token"
    async with bench.running() as refresher:
        await bench.pass_time(1500 + 7200)
        assert 100 < bench.state.failures < 150
        assert provider.requests == 0
        assert bench.vault.load_journal().requests == ()
        refresher._spender._endpoint._endpoints = TokenEndpoint(account(bench.path, url)).endpoints
        await bench.pass_time(75)
    assert bench.tokens == ["access-0", "access-1"]


async def test_retry_after_is_obeyed_also_by_another_process(
    bench: Bench, provider: Provider
) -> None:
    bench.vault.store(stored())
    provider.script.append(response(429, b"", "Retry-After: 200"))
    async with bench.running():
        await bench.pass_time(1600)
        assert provider.requests == 1
        with pytest.raises(RefreshFailed, match="asked to wait") as caught:
            await bench.make().refresh_now(reason="test")
        assert 0 < (caught.value.retry_after or 0) <= 200
    async with bench.running():
        await bench.pass_time(120)
    assert provider.requests == 2
    assert bench.tokens[-1] == "access-1"


@pytest.mark.parametrize("jump", [-36_000.0, 36_000.0])
async def test_a_clock_that_is_set_neither_prolongs_nor_shortens_a_retry_after(
    bench: Bench, provider: Provider, jump: float
) -> None:
    bench.vault.store(stored())
    provider.script.append(response(429, b"", "Retry-After: 200"))
    async with bench.running():
        await bench.pass_time(1500)
        assert provider.requests == 1
        await bench.pass_time(150, jump=jump)
        assert provider.requests == 1
        await bench.pass_time(100)
    assert provider.requests == 2
    assert bench.tokens[-1] == "access-1"


async def test_lost_answer_is_asked_for_again_at_once_within_the_grace(
    bench: Bench, provider: Provider
) -> None:
    bench.vault.store(stored())
    provider.grace = True
    provider.lose = 1
    async with bench.running():
        await bench.pass_time(1510)
    assert [form["refresh_token"] for form in provider.forms] == ["refresh-0", "refresh-0"]
    assert bench.tokens == ["access-0", "access-2"]
    assert bench.state.failures == 0


async def test_what_is_asked_for_again_leaves_the_grace_room_for_another_try(
    bench: Bench, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    deadlines: list[float] = []
    refresh = TokenEndpoint.refresh

    async def noting(self: TokenEndpoint, refresh_token: str, deadline: float) -> Outcome:
        deadlines.append(deadline)
        return await refresh(self, refresh_token, deadline=deadline)

    monkeypatch.setattr(TokenEndpoint, "refresh", noting)
    bench.vault.store(stored())
    provider.script.extend([CLOSE] * 3)
    async with bench.running(timeout=8.0, rotation_grace=10.0):
        await bench.pass_time(1510)
        assert bench.phase == "ok"
    assert deadlines == pytest.approx([8.0, 5.0, 4.9, 4.7], rel=1e-4)


async def test_lost_answer_without_grace_is_told_apart_from_a_revoked_login(
    bench: Bench, provider: Provider
) -> None:
    bench.vault.store(stored())
    provider.lose = 1
    async with bench.running(rotation_grace=0.0):
        await bench.pass_time(1550)
        assert provider.requests == 1
        assert bench.phase == "retrying"
        await bench.pass_time(90)  # the last tenth of the token's life
        assert provider.requests == 2
        assert bench.phase == "lost_rotation"
        assert "lost" in (bench.state.last_error or "")
        await bench.pass_time(3600)
    assert provider.requests == 2


async def test_refused_refresh_token_is_sent_no_more_and_the_file_is_kept(
    bench: Bench, provider: Provider
) -> None:
    saved = bench.vault.store(stored())
    provider.generation = 9
    async with bench.running():
        await bench.pass_time(1600)
        assert bench.phase == "login_needed"
        assert "tokenrelay login main" in (bench.state.last_error or "")
        assert bench.tokens == ["access-0"]
        await bench.pass_time(3600)
    async with bench.running():
        await bench.pass_time(3600)
    assert provider.requests == 1
    assert bench.vault.load() == saved


async def test_new_login_flows_in_without_a_restart(bench: Bench, provider: Provider) -> None:
    bench.vault.store(stored())
    provider.generation = 9
    async with bench.running():
        await bench.pass_time(1600)
        assert bench.phase == "login_needed"
        now = int(bench.clock.wall())
        bench.vault.store(stored(9, issued_at=now, expires_at=now + 1800, granted_at=now))
        await bench.pass_time(3)
        assert bench.phase == "ok"
        assert bench.tokens == ["access-0", "access-9"]
        await bench.pass_time(1600)
    assert bench.tokens[-1] == "access-10"


async def test_a_token_file_that_is_gone_for_a_while_is_taken_up_again(
    bench: Bench, provider: Provider
) -> None:
    bench.vault.store(stored())
    aside = bench.folder / "aside"
    async with bench.running():
        await bench.pass_time(60)
        bench.path.rename(aside)
        await bench.pass_time(60)
        assert bench.phase == "login_needed"
        aside.rename(bench.path)
        await bench.pass_time(5)
        assert bench.phase == "ok"
        await bench.pass_time(1500)
    assert bench.tokens[-1] == "access-1"


async def test_a_token_file_that_comes_back_with_the_same_times_is_taken_up_again(
    bench: Bench, provider: Provider
) -> None:
    bench.vault.store(stored())
    aside = bench.folder / "aside"
    async with bench.running() as refresher:
        await bench.pass_time(60)
        bench.path.rename(aside)
        with pytest.raises(LoginNeeded):
            await refresher.refresh_now(reason="test")
        aside.rename(bench.path)
        await bench.pass_time(5)
        assert bench.phase == "ok"


async def test_a_login_without_a_refresh_token_is_served(bench: Bench, provider: Provider) -> None:
    bench.vault.store(stored())
    async with bench.running() as refresher:
        await bench.pass_time(60)
        bench.vault.store(stored(5, refresh_token=None, granted_at=NOW + 60))
        await refresher.refresh_now(reason="login")
        assert bench.phase == "ok"
        assert bench.tokens == ["access-0", "access-5"]


@pytest.mark.parametrize("hindrance", ["the file's lock", "the disk"])
async def test_an_older_copy_is_replaced_as_soon_as_the_file_can_be_written(
    bench: Bench, provider: Provider, monkeypatch: pytest.MonkeyPatch, hindrance: str
) -> None:
    bench.vault.store(stored())
    copy = bench.copy_file()
    async with bench.running():
        await bench.pass_time(1510)
        intent = Intent(fingerprint("refresh-1"), NOW, bench.clock.boot(), current_boot_id())
        with Vault(bench.path).transaction() as transaction:
            transaction.write_journal(transaction.journal.replace(intent=intent))
            copy.rename(bench.path)
            if hindrance == "the disk":
                monkeypatch.setattr(os, "ftruncate", broken_disk)
            else:
                await bench.pass_time(90)
        await bench.pass_time(90)
        if hindrance == "the disk":
            assert "not saved" in (bench.state.last_error or "")
            monkeypatch.undo()
            await bench.pass_time(60)
        saved = bench.vault.load()
        assert saved is not None
        assert saved.refresh_token == "refresh-1"
        assert bench.state.last_error is None
        # What is known of attempts with that refresh token is known still.
        assert bench.vault.load_journal().intent == intent


@pytest.mark.parametrize("noticed_by", ["the next look", "a refresh"])
async def test_an_older_copy_of_the_token_file_does_not_replace_the_newer_login(
    bench: Bench, provider: Provider, noticed_by: str
) -> None:
    bench.vault.store(stored())
    copy = bench.copy_file()
    async with bench.running() as refresher:
        await bench.pass_time(1510)
        assert bench.tokens == ["access-0", "access-1"]
        copy.rename(bench.path)
        if noticed_by == "the next look":
            await bench.pass_time(60)
            saved = bench.vault.load()
            assert saved is not None
            assert saved.refresh_token == "refresh-1"
            await bench.pass_time(1500)
        else:
            await refresher.refresh_now(reason="test")
        assert bench.phase == "ok"
    assert bench.tokens == ["access-0", "access-1", "access-2"]
    assert provider.reuses == 0


async def test_a_running_sender_that_is_asked_notices_a_logout(
    bench: Bench, provider: Provider
) -> None:
    saved = bench.vault.store(stored())
    async with bench.running() as refresher:
        await bench.pass_time(60)
        bench.vault.store(saved.replace(refresh_token=None))
        with pytest.raises(LoginNeeded):
            await refresher.refresh_now(reason="logout")
        assert bench.phase == "login_needed"
    assert provider.requests == 0


async def test_token_of_another_process_is_adopted_instead_of_refreshing(
    bench: Bench, provider: Provider
) -> None:
    bench.vault.store(stored())
    async with bench.running():
        await bench.pass_time(1400)
        now = int(bench.clock.wall())
        bench.vault.store(stored(7, issued_at=now, expires_at=now + 1800))
        await bench.pass_time(300)
        assert bench.tokens == ["access-0", "access-7"]
    assert provider.requests == 0


async def test_misconfigured_client_is_tried_again_slowly(bench: Bench, provider: Provider) -> None:
    bench.vault.store(stored())
    provider.script.extend([response(401, {"error": "invalid_client"})] * 2)
    async with bench.running():
        await bench.pass_time(1500 + 850)
        assert provider.requests == 1
        assert "client_secret" in (bench.state.last_error or "")
        await bench.pass_time(100 + 900)
    assert bench.tokens[-1] == "access-1"
    provider.script.append(response(401, {"error": "invalid_client"}))
    with pytest.raises(ConfigurationError):
        await bench.make().refresh_now(reason="test")


OUTAGES = {
    "gateway": response(503, b""),
    "lost answers": CLOSE,
    "errors": response(400, {"error": "server_error"}),
    "too many": response(429, b""),
}


@pytest.mark.parametrize("answer", OUTAGES.values(), ids=OUTAGES)
async def test_a_minute_without_the_provider_costs_no_program_its_token(
    bench: Bench, provider: Provider, answer: bytes
) -> None:
    bench.vault.store(stored())
    async with bench.running():
        await bench.pass_time(1460)
        provider.script.extend([answer] * 500)
        await bench.pass_time(70)
        assert bench.state.failures > 0
        provider.script.clear()
        await bench.pass_time(250)
        assert bench.tokens == ["access-0", "access-1"]


@pytest.mark.parametrize("minutes", [15, 60, 180])
@pytest.mark.parametrize("answer", OUTAGES.values(), ids=OUTAGES)
async def test_after_an_outage_the_provider_is_asked_within_minutes(
    bench: Bench, provider: Provider, answer: bytes, minutes: int
) -> None:
    bench.vault.store(stored())
    async with bench.running():
        await bench.pass_time(1460)
        provider.script.extend([answer] * 5000)
        await bench.pass_time(60 * minutes)
        asked = provider.requests
        provider.script.clear()
        await bench.pass_time(240)
        assert bench.tokens[-1] != "access-0"
    burst = {OUTAGES["lost answers"]: 8, OUTAGES["gateway"]: 3}.get(answer, 1)
    assert asked <= 7 + burst * 30 * max(1, minutes / 60)


@pytest.mark.parametrize("grace", [60.0, 3600.0])
async def test_a_long_grace_is_made_use_of(bench: Bench, provider: Provider, grace: float) -> None:
    bench.vault.store(stored())
    provider.script.extend([CLOSE] * 9)
    async with bench.running(rotation_grace=grace):
        await bench.pass_time(1525)
    assert bench.tokens == ["access-0", "access-1"]


async def test_a_gateway_that_hides_a_success_as_it_recovers_costs_no_login(
    bench: Bench, provider: Provider
) -> None:
    bench.vault.store(stored())
    provider.grace = True
    async with bench.running():
        await bench.pass_time(1460)
        provider.script.extend([response(503, b"")] * 500)
        await bench.pass_time(120)
        provider.script.clear()
        provider.script.append(response(504, b""))
        provider.lose = 1  # the one behind the 504
        await bench.pass_time(70)
        assert bench.phase == "ok"
        assert len(bench.tokens) == 2


async def test_failing_provider_is_asked_no_more_than_the_budget_across_restarts(
    bench: Bench, provider: Provider
) -> None:
    bench.vault.store(stored(expires_at=NOW - 1, issued_at=NOW - 1801))
    provider.script.extend([response(400, {"error": "server_error"})] * 500)
    for _ in range(15):
        async with bench.running():
            await bench.pass_time(30)
    assert 6 <= provider.requests <= 10
    async with bench.running():
        await bench.pass_time(3000)
    assert provider.requests <= 30


async def test_full_disk_spends_nothing(
    bench: Bench, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.vault.store(stored())

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    async with bench.running():
        await bench.pass_time(1600)
        assert provider.requests == 0
        assert "No space left" in (bench.state.last_error or "")
        monkeypatch.undo()
        await bench.pass_time(75)
    assert bench.tokens == ["access-0", "access-1"]


async def test_token_that_cannot_be_saved_is_served_and_saved_later_under_the_same_lock(
    bench: Bench, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.vault.store(stored())
    monkeypatch.setattr(os, "ftruncate", broken_disk_after(provider))
    async with bench.running():
        await bench.pass_time(1550)
        assert bench.tokens == ["access-0", "access-1"]
        assert "not saved" in (bench.state.last_error or "")
        await bench.pass_time(1500)
        assert bench.tokens[-1] == "access-2"
        monkeypatch.undo()
        await bench.pass_time(5)
        assert bench.phase == "ok"
    saved = bench.vault.load()
    assert saved is not None
    assert saved.refresh_token == "refresh-2"
    assert provider.reuses == 0


@pytest.mark.parametrize("next_refresh", ["not due", "failing"])
async def test_a_token_that_the_disk_refused_is_saved_at_the_end_if_it_can_be(
    bench: Bench, provider: Provider, monkeypatch: pytest.MonkeyPatch, next_refresh: str
) -> None:
    bench.vault.store(stored())
    if next_refresh == "failing":
        provider.script.extend([response(200, granted(1)), *[response(503, {})] * 99])
    async with bench.running():
        monkeypatch.setattr(os, "ftruncate", broken_disk_after(provider))
        await bench.pass_time(1550 if next_refresh == "not due" else 3050)
        assert bench.refresher.unsaved
        monkeypatch.undo()
    saved = bench.vault.load()
    assert saved is not None
    assert saved.refresh_token == "refresh-1"


async def test_settling_does_not_wait_for_a_disk_that_refuses(
    bench: Bench, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.vault.store(stored())
    async with bench.running() as refresher:
        monkeypatch.setattr(os, "ftruncate", broken_disk_after(provider))
        await bench.pass_time(1550)
        with anyio.fail_after(20):
            assert not await refresher.settle()
        monkeypatch.undo()
        await bench.pass_time(5)
        assert await refresher.settle()


@pytest.mark.parametrize("with_a_loop", [True, False])
async def test_a_token_that_cannot_be_saved_at_the_end_either_is_told(
    bench: Bench,
    provider: Provider,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    with_a_loop: bool,
) -> None:
    bench.vault.store(stored())
    monkeypatch.setattr(os, "ftruncate", broken_disk_after(provider))
    refresher = bench.make()
    async with anyio.create_task_group() as tasks:
        work = refresher.run if with_a_loop else partial(refresher.refresh_now, reason="test")
        tasks.start_soon(work)
        await bench.pass_time(1550 if with_a_loop else 5)
        assert refresher.unsaved
        tasks.cancel_scope.cancel()
    told = capsys.readouterr().out.splitlines()[-1]
    assert "token not saved" in told
    assert "tokenrelay login main" in told


async def test_rescued_refresh_token_is_saved_before_anything_else(
    bench: Bench, provider: Provider
) -> None:
    bench.vault.store(stored())
    provider.generation = 1
    provider.script.append(response(200, granted(1, error="oops")))
    async with bench.running():
        await bench.pass_time(1510)
    assert [form["refresh_token"] for form in provider.forms] == ["refresh-0", "refresh-1"]
    assert bench.tokens == ["access-0", "access-2"]


async def test_start_after_a_crash_asks_again_within_the_grace(
    bench: Bench, provider: Provider
) -> None:
    bench.vault.store(stored())
    provider.generation, provider.grace = 1, True
    intent = Intent(fingerprint("refresh-0"), NOW - 2, bench.clock.boot() - 2, current_boot_id())
    with bench.vault.transaction() as transaction:
        transaction.write_journal(Journal(intent=intent))
    async with bench.running():
        await bench.pass_time(1)
    assert bench.tokens == ["access-0", "access-2"]


async def test_an_answer_lost_in_a_crash_does_not_wait_for_the_budget(
    bench: Bench, provider: Provider
) -> None:
    bench.vault.store(stored())
    provider.generation, provider.grace = 1, True
    intent = Intent(fingerprint("refresh-0"), NOW - 2, bench.clock.boot() - 2, current_boot_id())
    requests = tuple(NOW - 2.0 - number for number in range(9))
    with bench.vault.transaction() as transaction:
        transaction.write_journal(Journal(intent=intent, requests=requests))
    async with bench.running():
        await bench.pass_time(1)
    assert bench.tokens == ["access-0", "access-2"]


@pytest.mark.parametrize("jump", [3600.0, 315_360_000.0])
async def test_clock_set_forward_causes_one_refresh(
    bench: Bench, provider: Provider, jump: float
) -> None:
    bench.vault.store(stored())
    async with bench.running():
        await bench.pass_time(60)
        await bench.pass_time(60, jump=jump)
        assert provider.requests == 1
        await bench.pass_time(1400)
    assert provider.requests == 1


@pytest.mark.parametrize("jump", [-3600.0, -1_600_000_000.0])
async def test_clock_set_back_does_not_prolong_a_token(
    bench: Bench, provider: Provider, jump: float
) -> None:
    bench.vault.store(stored())
    async with bench.running():
        await bench.pass_time(60)
        await bench.pass_time(1380, jump=jump)
        assert provider.requests == 0
        await bench.pass_time(70)
        assert provider.requests == 1
        await bench.pass_time(1400)
    assert provider.requests == 1


async def test_receivers_request_causes_one_refresh_a_minute(
    bench: Bench, provider: Provider
) -> None:
    bench.vault.store(stored())
    async with bench.running() as refresher:
        await bench.pass_time(10)
        first = bench.state.token
        assert first is not None
        assert refresher.request(first.serial) is None
        assert refresher.request(first.serial) is None
        await bench.pass_time(5)
        assert provider.requests == 1
        second = bench.state.token
        assert second is not None
        assert refresher.request(first.serial) is None
        assert "55 s" in (refresher.request(second.serial) or "")
        await bench.pass_time(60)
        assert refresher.request(second.serial) is None
        await bench.pass_time(5)
    assert provider.requests == 2


async def test_request_is_refused_where_a_refresh_is_hopeless(
    bench: Bench, provider: Provider
) -> None:
    async with bench.running() as refresher:
        await bench.pass_time(5)
        assert bench.phase == "login_needed"
        assert "tokenrelay login main" in (refresher.request(1) or "")


async def test_refresh_now_joins_a_refresh_already_running(
    bench: Bench, provider: Provider
) -> None:
    bench.vault.store(stored())
    async with bench.running() as refresher:
        await bench.pass_time(5)
        found: list[str] = []

        async def ask() -> None:
            found.append((await refresher.refresh_now(reason="test")).access_token)

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(ask)
    assert found == ["access-1"] * 5
    assert provider.requests == 1


async def test_refresh_now_without_a_loop_serves_the_command_line(bench: Bench) -> None:
    with pytest.raises(LoginNeeded, match="no token file"):
        await bench.make().refresh_now(reason="test")
    bench.vault.store(stored())
    bench.published.clear()
    token = await bench.make().refresh_now(reason="test")
    assert token.access_token == "access-1"
    assert bench.tokens == ["access-0", "access-1"]


async def test_refresh_now_tries_a_refused_login_again(bench: Bench, provider: Provider) -> None:
    bench.vault.store(stored())
    provider.script.append(response(400, {"error": "invalid_grant"}))
    refresher = bench.make()
    with pytest.raises(LoginNeeded):
        await refresher.refresh_now(reason="test")
    assert (await refresher.refresh_now(reason="test")).access_token == "access-1"


async def test_damaged_file_is_served_from_the_previous_copy_until_it_is_repaired(
    bench: Bench, provider: Provider
) -> None:
    bench.vault.store(stored())
    good = bench.path.read_bytes()
    bench.path.write_bytes(good[:50])
    async with bench.running():
        await bench.pass_time(1600)
        assert bench.tokens == ["access-0"]
        assert bench.phase == "retrying"
        assert "truncated" in (bench.state.last_error or "")
        assert provider.requests == 0
        assert bench.path.read_bytes() == good[:50]
        bench.path.write_bytes(good)
        await bench.pass_time(5)
        assert bench.phase == "ok"
    assert bench.tokens[-1] == "access-1"


@pytest.mark.parametrize("trouble", ["mode", "hard link", "disk"])
@pytest.mark.parametrize("from_the_start", [True, False])
async def test_a_file_that_cannot_be_read_is_no_login_that_is_over(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, trouble: str, from_the_start: bool
) -> None:
    bench.vault.store(stored())
    other = bench.folder / "another name"
    async with AsyncExitStack() as stack:
        if not from_the_start:
            await stack.enter_async_context(bench.running())
            await bench.pass_time(5)
        match trouble:
            case "mode":
                bench.path.chmod(0o644)
            case "hard link":
                other.hardlink_to(bench.path)
            case "disk":
                monkeypatch.setattr(os, "read", broken_disk)
                bench.path.touch()
        if from_the_start:
            await stack.enter_async_context(bench.running())
        await bench.pass_time(40)
        assert bench.phase == "retrying"
        assert bench.state.failures > 1
        assert bench.state.next_refresh_at is None
        assert "login" not in (bench.refresher.request(0) or "")
        monkeypatch.undo()
        other.unlink(missing_ok=True)
        bench.path.chmod(0o600)
        await bench.pass_time(3)
        assert (bench.phase, bench.tokens[-1]) == ("ok", "access-0")
        await bench.pass_time(1600)
    assert bench.tokens[-1] == "access-1"


async def test_wrong_mode_is_repaired_by_the_command_in_the_error(bench: Bench) -> None:
    bench.vault.store(stored())
    async with bench.running():
        await bench.pass_time(5)
        bench.path.chmod(0o644)
        await bench.pass_time(40)
        assert "chmod 600" in (bench.state.last_error or "")
        bench.path.chmod(0o600)
        await bench.pass_time(40)
        assert bench.phase == "ok"


async def test_a_keyring_that_stays_locked_asks_for_its_password_once_a_minute(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []

    def refuse(*_: str) -> str:
        asked.append(bench.clock.boot())
        raise KeyringLocked

    def vault() -> Vault:
        return Vault(bench.path, seal=Seal("keyring", "main"), wall=bench.clock.wall)

    monkeypatch.setattr(keyring, "get_password", lambda *_: "the key")
    vault().store(stored())
    vault().store(stored())  # there is a previous copy, sealed as well
    monkeypatch.setattr(keyring, "get_password", refuse)
    bench.vault = vault()
    async with bench.running():
        await bench.pass_time(600)
        assert bench.phase == "retrying"
        assert len(asked) > 2
        assert all(later - at >= 60 for at, later in pairwise(asked))
        monkeypatch.setattr(keyring, "get_password", lambda *_: "the key")
        await bench.pass_time(70)
        assert (bench.phase, bench.tokens) == ("ok", ["access-0"])


async def test_import_without_serial_gets_one_and_keeps_growing(bench: Bench) -> None:
    plain = {"access_token": "a", "refresh_token": "refresh-0", "expires_at": NOW + 900}
    bench.path.write_text(json.dumps(plain))
    bench.path.chmod(0o600)
    async with bench.running():
        await bench.pass_time(700)
    serials = [token.serial for token in bench.published]
    assert serials[0] == NOW * 1000
    assert serials == sorted(set(serials))
    saved = bench.vault.load()
    assert saved is not None
    assert saved.client_id == "the-client"


async def test_serial_is_raised_above_that_of_a_receiver(bench: Bench) -> None:
    bench.vault.store(stored())
    async with bench.running() as refresher:
        await bench.pass_time(5)
        high = NOW * 1000 + 10**9
        refresher.raise_serial(high)
        refresher.raise_serial(high - 5)
        assert [token.serial > high for token in bench.published] == [False, True]
        await bench.pass_time(1600)
    saved = bench.vault.load()
    assert saved is not None
    assert saved.serial > high + 1


async def test_cancelled_in_the_middle_of_a_request_the_answer_is_still_saved(
    bench: Bench, provider: Provider
) -> None:
    bench.vault.store(stored())
    provider.hold = threading.Event()
    refresher = bench.make()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: refresher.refresh_now(reason="test"))
        await bench.until(lambda: provider.requests == 1)
        tasks.cancel_scope.cancel()
        provider.hold.set()
    saved = bench.vault.load()
    assert saved is not None
    assert saved.refresh_token == "refresh-1"


async def test_cancelled_while_the_intent_is_written_it_has_said_that_an_answer_is_to_come(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.vault.store(stored())
    writes, may_write = threading.Event(), threading.Event()
    whole = os.fsync

    def slow(descriptor: int) -> None:
        writes.set()
        may_write.wait(30)
        whole(descriptor)

    monkeypatch.setattr(os, "fsync", slow)
    refresher = bench.make()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: refresher.refresh_now(reason="test"))
        await bench.until(writes.is_set)
        awaited = refresher.awaits_answer
        tasks.cancel_scope.cancel()
        may_write.set()
    saved = bench.vault.load()
    assert saved is not None
    assert (awaited, saved.refresh_token) == (True, "refresh-1")


@pytest.mark.parametrize(("generation", "phase"), [(0, "ok"), (9, "login_needed")])
async def test_a_loop_that_is_begun_again_stands_where_it_stood(
    bench: Bench, provider: Provider, generation: int, phase: str
) -> None:
    bench.vault.store(stored())
    provider.generation = generation
    async with bench.running() as refresher:
        await bench.pass_time(1550)
    assert bench.phase == "stopped"
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(refresher.run)
        await bench.pass_time(5)
        assert bench.phase == phase
        tasks.cancel_scope.cancel()


async def test_lost_connection_is_no_dead_login(bench: Bench, provider: Provider) -> None:
    bench.vault.store(stored())
    provider.script.extend([CLOSE] * 16)
    async with bench.running():
        await bench.pass_time(1520)
        assert bench.phase == "retrying"
        await bench.pass_time(700)
    assert bench.tokens[-1] == "access-1"


async def test_no_secret_reaches_the_log(
    bench: Bench, provider: Provider, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.vault.store(stored())
    provider.script.append(
        response(400, {"error": "invalid_request", "error_description": "refresh-0 the-secret"})
    )
    async with bench.running():
        await bench.pass_time(2600)
    captured = capsys.readouterr()
    text = captured.out + captured.err
    assert "token in service" in text
    for secret in ("access-0", "access-1", "refresh-0", "refresh-1", "the-secret"):
        assert secret not in text
