"""One account's loop: keeps a valid token in service and replaces it before it ends."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import anyio
from anyio.to_thread import run_sync

from tokenrelay.sender import schedule, verdict
from tokenrelay.sender.attempt import Spender, Spent
from tokenrelay.sender.errors import (
    ConfigurationError,
    LoginNeeded,
    RefreshFailed,
    SenderError,
    TokenFileSealed,
    VaultBusy,
    VaultError,
)
from tokenrelay.sender.file_watch import FileWatch
from tokenrelay.sender.in_service import InService
from tokenrelay.sender.journal import recoverable
from tokenrelay.sender.refresher_state import Phase, RefresherState
from tokenrelay.sender.saving import Saver
from tokenrelay.sender.schedule import Instant, RequestPace
from tokenrelay.sender.turns import ProviderTurns

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from structlog.typing import FilteringBoundLogger

    from tokenrelay.sender.clock import Clock, Sleep
    from tokenrelay.sender.config import Account
    from tokenrelay.sender.journal import Journal
    from tokenrelay.sender.oauth import TokenEndpoint
    from tokenrelay.sender.schedule import Lease
    from tokenrelay.sender.tokens import TokenSet
    from tokenrelay.sender.vault import Transaction, Vault

LOOK_SECONDS = 1.0  # how soon a new login is noticed where one is needed
MISCONFIGURED_WAIT = 900.0
LOCK_POLL, LOCK_PATIENCE = 0.05, 30.0
SEALED_WAIT = 60.0  # between two questions that a person may have to answer
SAVE_PATIENCE = 10.0


class Refresher:
    """Refreshes one account. All methods belong to the event loop's thread.

    ``publish`` gets the stored token first, if it is still valid, then each new one once it is on
    disk. It must not block. ``turns``: shared with those who ask the same provider.
    """

    def __init__(
        self,
        account: Account,
        vault: Vault,
        endpoint: TokenEndpoint,
        *,
        publish: Callable[[TokenSet], None],
        clock: Clock,
        random: Random,
        log: FilteringBoundLogger,
        sleep: Sleep = anyio.sleep,
        turns: ProviderTurns | None = None,
    ) -> None:
        self._account, self._vault = account, vault
        self._turns = turns or ProviderTurns()
        self._clock, self._random, self._sleep = clock, random, sleep
        self._log = log.bind(account=account.name)
        self._spender = Spender(
            account, endpoint, disk=self._turns.disk, clock=clock, sleep=sleep, log=self._log
        )
        self._saver = Saver(account.name, vault, disk=self._turns.disk, sleep=sleep, log=self._log)
        self._held = InService(account, publish=publish, clock=clock, random=random, log=self._log)
        self._phase: Phase = "ok"
        self._last_error: str | None = None
        self._last_refresh_at: float | None = None
        self._refreshes = self._failures = 0
        self._retry_at: float | None = None  # boot seconds
        self._file = FileWatch(vault, clock=clock, sleep=sleep)
        self._wanted = False
        self._running: bool | None = None  # no loop was begun yet
        self._pace = RequestPace()
        self._wake = anyio.Event()
        self._busy = anyio.Lock()
        self._refused = anyio.Event()  # set while the disk takes no new token

    @property
    def state(self) -> RefresherState:
        """What `tokenrelay status` shows."""
        wait = self._until_refresh()
        return RefresherState(
            token=self._held.token,
            phase="stopped" if self._running is False else self._phase,
            last_error=self._last_error or self._saver.trouble,
            last_refresh_at=self._last_refresh_at,
            next_refresh_at=None if wait is None else self._clock.wall() + max(0.0, wait),
            refreshes=self._refreshes,
            failures=self._failures,
        )

    @property
    def awaits_answer(self) -> bool:
        """Whether a request is under way, or its answer being saved."""
        return self._spender.awaits_answer

    @property
    def unsaved(self) -> bool:
        """Whether a new token is in memory alone, or is just being saved."""
        return self._vault.unsaved

    async def run(self) -> None:
        """Until cancelled. Failures are in the log and in `state`, never raised."""
        self._running = True
        try:
            await self._look()
            self._resume()
            while True:
                await self._pause(schedule.sleep_for(self._until_next()))
                await self._tick()
        finally:
            await self._save_last()
            self._running = False

    async def refresh_now(self, *, reason: str) -> TokenSet:
        """Refreshes at once and returns the new token; joins a refresh already running.

        SenderError says why not. Our own pace does not count, the provider's Retry-After does.
        """
        self._log.info("refresh asked", reason=reason)
        try:
            return await self._refresh(forced=True)
        finally:
            self._wake.set()
            if not self._running:
                await self._save_last()

    async def settle(self) -> bool:
        """Wait until no refresh is in flight, whoever asked for it. False: a new token is in memory
        alone, since its disk refuses it; that may last."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._stop_where_refused, tasks.cancel_scope)
            async with self._busy:
                tasks.cancel_scope.cancel()
        return not self._vault.unsaved

    async def _stop_where_refused(self, scope: anyio.CancelScope) -> None:
        await self._refused.wait()
        scope.cancel()

    def request(self, serial: int) -> str | None:
        """A receiver says that the API refused the token of ``serial``.

        None: a newer token is there or on its way; else the reason why not.
        """
        if self._file.unusable:
            return "the token file cannot be used now; see: tokenrelay status"
        if self._held.token is None or self._needs_login:
            return f"a login is needed: tokenrelay login {self._account.name}"
        if self._held.token.serial > serial or self._wanted or self._busy.locked():
            return None
        now = self._clock.boot()
        if wait := self._pace.wait(now):
            return f"refreshed lately for such a request; the next one in {wait:.0f} s"
        if self._retry_at is not None and self._retry_at > now:
            return f"the provider fails; the next try in {self._retry_at - now:.0f} s"
        self._pace = self._pace.followed(now)
        self._wanted = True
        self._wake.set()
        return None

    def wake(self) -> None:
        """Look at once: the clocks have jumped, so that what was not due may be."""
        self._wake.set()

    def raise_serial(self, floor: int) -> None:
        """A receiver holds a token of serial ``floor``: ours is published again above it."""
        self._held.raise_serial(floor)

    @property
    def _needs_login(self) -> bool:
        return self._phase in ("login_needed", "lost_rotation")

    def _until_next(self) -> float:
        """Seconds until the loop has something to do."""
        wait = self._until_refresh()
        return LOOK_SECONDS if wait is None else wait

    def _until_refresh(self) -> float | None:
        """Seconds until a refresh; None where only another token file, or one that can be read
        again, makes one possible."""
        if self._held.lease is None or self._needs_login or self._file.unusable:
            return None
        now = Instant.now(self._clock)
        wait = 0.0 if self._wanted else self._held.lease.until_due(now)
        return wait if self._retry_at is None else max(wait, self._retry_at - now.boot)

    async def _pause(self, seconds: float) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._nap, seconds, tasks.cancel_scope)
            await self._wake.wait()
            tasks.cancel_scope.cancel()
        self._wake = anyio.Event()

    async def _nap(self, seconds: float, scope: anyio.CancelScope) -> None:
        await self._sleep(seconds)
        scope.cancel()

    async def _tick(self) -> None:
        if self._file.looks_different:
            await self._look()
        if self._until_next() > 0:
            return
        try:
            await self._refresh(forced=False)
        except SenderError as error:
            self._log.warning("refresh failed", error=str(error), failures=self._failures)

    async def _look(self) -> None:
        """Takes over what is in the token file, if it is not what we have."""
        try:
            if self._vault.locked:
                self._file.unusable, self._phase = True, "retrying"
                self._last_error = f"{self._vault.path}: waits for its key; unlock the keyring"
                await self._file.fetch_key()
            if not self._busy.locked():
                async with self._busy:
                    await self._read()
        except VaultError as error:
            self._set_unusable(error)

    def _set_unusable(self, error: VaultError) -> None:
        if not self._file.unusable or str(error) != self._last_error:
            self._log.error("token file unusable", error=str(error))
        # The login may be as good as ever: it is the file that cannot be had.
        wait = _patience_with(error)
        self._fail(str(error), "retrying", wait)
        self._file.refuse(wait)
        if self._held.token is not None or self._vault.locked:
            return
        if previous := self._vault.load_previous():
            self._held.hold(previous)

    async def _read(self) -> None:
        self._file.saw()
        stored = self._vault.load()
        if stored is None:
            cause = f"no token file {self._vault.path}"
            self._file.missing = True
            self._fail(str(LoginNeeded.of(self._account.name, cause)), "login_needed")
        elif newer := self._held.newer_than(stored):
            await self._put_back(newer, stored)
            return
        elif self._held.differs(stored) or self._file.unusable or self._file.missing:
            self._adopt(stored)
        self._saver.trouble = None

    async def _put_back(self, newer: TokenSet, stored: TokenSet) -> None:
        """Somebody put an earlier file back: the refresh token there is spent, and to send it could
        end the login."""
        await self._file.fetch_key()
        if self._file.unusable or self._file.missing:
            self._adopt(newer)
        await self._saver.put_back(newer, instead_of=stored)
        if self._saver.trouble:
            self._file.forget()

    def _resume(self) -> None:
        """After a crash between request and answer the provider's grace may still run."""
        if self._held.token is None:
            return
        self._wanted = self._recoverable(self._vault.load_journal(), self._held.token)

    def _recoverable(self, journal: Journal, token: TokenSet) -> bool:
        return recoverable(journal, token, self._account.rotation_grace, self._clock)

    def _adopt(self, stored: TokenSet) -> Lease:
        self._phase, self._last_error = "ok", None
        self._failures, self._retry_at = 0, None
        self._wanted = self._file.unusable = self._file.missing = False
        return self._held.hold(stored)

    async def _refresh(self, *, forced: bool) -> TokenSet:
        try:
            await self._file.fetch_key()
            if self._held.token is None:
                await self._look()
            known = self._held.token
            async with self._busy:
                own = self._held.token
                if own and known and own.access_token != known.access_token:
                    return own
                return await self._transact(forced)
        except LoginNeeded as error:
            self._fail(str(error), "lost_rotation" if error.lost_rotation else "login_needed")
            raise
        except ConfigurationError as error:
            self._fail(str(error), "retrying", MISCONFIGURED_WAIT)
            raise
        except RefreshFailed as error:
            self._fail(str(error), "retrying", error.retry_after or 0.0)
            raise
        except VaultError as error:
            self._fail(str(error), "retrying", _patience_with(error))
            raise

    def _fail(self, cause: str, phase: Phase, wait: float = 0.0) -> None:
        self._failures += 1
        self._phase, self._last_error = phase, cause
        pause = max(wait, schedule.backoff(self._failures, self._random.random()))
        self._retry_at = self._clock.boot() + pause

    async def _transact(self, forced: bool) -> TokenSet:
        with ExitStack() as stack:
            transaction = await self._lock(stack)
            current = transaction.current
            if current is None:
                self._file.missing = True
                raise LoginNeeded.of(self._account.name, f"no token file {self._vault.path}")
            if newer := self._held.newer_than(current):
                await run_sync(transaction.put_back, newer, limiter=self._turns.disk.answers)
                self._log.warning("token file was an older copy: the token in service replaced it")
                current = newer
            if self._held.differs(current) and self._adopt_fresh(current):
                return self._held.token or current
            self._check_allowed(transaction, current, forced)
            while True:
                urgent = self._recoverable(transaction.journal, transaction.token)
                async with self._turns.turn(urgent=urgent, sleep=self._sleep):
                    spent = await self._spender.spend(transaction, serial_above=self._held.serial)
                lease = self._apply(spent)
                if not transaction.unsaved or await self._save(transaction, lease, forced):
                    self._phase, self._last_error = "ok", None
                    self._file.saw()
                    return self._held.token or transaction.token

    async def _lock(self, stack: ExitStack) -> Transaction:
        for _ in range(int(LOCK_PATIENCE / LOCK_POLL)):
            try:
                return stack.enter_context(self._vault.transaction(timeout=0))
            except VaultBusy:
                await self._sleep(LOCK_POLL)
        return stack.enter_context(self._vault.transaction(timeout=0))

    def _adopt_fresh(self, current: TokenSet) -> bool:
        """Another process refreshed, or somebody logged in: that token will do if it is not due.
        After a logout the same one is served to its end, but is no answer to who asks for a new."""
        own = self._held.token
        logged_out = current.refresh_token is None and (
            own is not None and own.access_token == current.access_token
        )
        lease = self._adopt(current)
        self._file.saw()
        return not logged_out and lease.until_due(Instant.now(self._clock)) > 0

    def _check_allowed(self, transaction: Transaction, current: TokenSet, forced: bool) -> None:
        """Raises where a request would be pointless, or too much."""
        now, journal = Instant.now(self._clock), transaction.journal
        pause = journal.pause.left(self._clock) if journal.pause else 0.0
        error = verdict.never_allowed(self._account, current, pause)
        if error is None and self._held.lease is not None and not forced:
            error = verdict.not_by_itself(
                self._account, journal, current, self._held.lease, now,
                urgent=self._recoverable(journal, current),
            )  # fmt: skip
        if error is not None:
            raise error

    def _apply(self, spent: Spent) -> Lease:
        """Puts the new token in service, or raises what the outcome means."""
        if spent.token is None:
            raise verdict.failure(self._account, spent)
        self._refreshes += 1
        self._last_refresh_at = self._clock.wall()
        return self._adopt(spent.token)

    async def _save(self, transaction: Transaction, lease: Lease, forced: bool) -> bool:
        """Tries to save a token that the disk refused, keeping the lock, since the file's refresh
        token is spent. False once the next refresh is due; VaultError after a while, but only
        where no loop goes on trying."""
        patience = self._clock.boot() + SAVE_PATIENCE
        self._phase, self._last_error = "retrying", f"token not saved in {self._vault.path}"
        self._refused.set()
        try:
            while lease.until_due(Instant.now(self._clock)) > 0:
                if (error := await self._saver.again(transaction)) is None:
                    return True
                self._last_error = f"token not saved: {error}"
                if forced and not self._running and self._clock.boot() >= patience:
                    raise error
        finally:
            self._refused = anyio.Event()
        return False

    async def _save_last(self) -> None:
        with anyio.CancelScope(shield=True):
            async with self._busy:
                await self._saver.last()


def _patience_with(error: VaultError) -> float:
    return SEALED_WAIT if isinstance(error, TokenFileSealed) else 0.0
