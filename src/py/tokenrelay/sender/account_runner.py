"""One account in the service: its refresher, its delivery, and what can be asked of them."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from random import SystemRandom
from typing import TYPE_CHECKING, Any

import anyio

from tokenrelay.sender.account_watch import AccountWatch
from tokenrelay.sender.delivery import Delivery
from tokenrelay.sender.errors import LoginNeeded, NobodyReceived, RefreshFailed, SenderError
from tokenrelay.sender.events import EventHook
from tokenrelay.sender.mirror import Mirror
from tokenrelay.sender.oauth import TokenEndpoint
from tokenrelay.sender.refresher import Refresher
from tokenrelay.sender.schedule import LONGEST_SLEEP
from tokenrelay.sender.tokens import TokenSet, describe_token
from tokenrelay.sender.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    from tokenrelay.sender.clock import Clock
    from tokenrelay.sender.config import Account
    from tokenrelay.sender.inotify import DirectoryWatch
    from tokenrelay.sender.meter import Meter
    from tokenrelay.sender.refresher_state import Phase
    from tokenrelay.sender.turns import Turns

SETTLE_SECONDS = 5.0
RESTART_SECONDS = 10.0
SLACK_SECONDS = 20.0  # what a slow disk or a busy machine may add


class AccountRunner:
    """Runs one account; its failures stay its own. For the event loop's thread."""

    def __init__(
        self,
        account: Account,
        *,
        runtimes: tuple[Path, ...],
        watch: DirectoryWatch | None,
        turns: Turns,
        meter: Meter,
        clock: Clock,
        log: FilteringBoundLogger,
    ) -> None:
        self.account = account
        self.name: str = account.name
        self._clock = clock
        self._beat: float | None = None
        self._log = log.bind(account=account.name)
        vault = Vault.of(account)
        self._delivery = Delivery(
            account.name,
            runtime_directories=runtimes,
            fixed_paths=account.sockets,
            include_refresh_token=account.include_refresh_token,
            allow_uids=account.allow_listener_uids,
            on_refresh_request=self._request_refresh,
            raise_serial=self._raise_serial,
            watch=watch,
            meter=meter,
            clock=clock,
            log=self._log,
        )
        self._refresher = Refresher(
            account,
            vault,
            TokenEndpoint(account, clock=clock, meter=meter),
            publish=self._publish,
            clock=clock,
            random=SystemRandom(),
            log=log,
            sleep=self._sleep,
            turns=turns.of(account),
        )
        self._mirror = Mirror(
            account.mirror, include_refresh_token=account.include_refresh_token, log=self._log
        )
        self._hook = EventHook(account.on_event, account.name, clock=clock, log=self._log)
        self._watch = AccountWatch(
            account,
            state=lambda: self._refresher.state,
            receivers=lambda: self._delivery.receivers,
            notify=self._hook.notify,
            clock=clock,
            log=self._log,
        )

    async def run(self, ready: Callable[[], None]) -> None:
        """Refresh and deliver until cancelled; `ready` is called once the watches are up.

        A fault of ours is logged and the account started again: it must not end the others.
        """
        while True:
            try:
                async with anyio.create_task_group() as group:
                    group.start_soon(partial(self._delivery.run, ready=ready))
                    group.start_soon(self._refresher.run)
                    group.start_soon(self._mirror.run)
                    group.start_soon(self._hook.run)
                    group.start_soon(self._watch.run)
            except* Exception:
                self._log.exception("account stopped by a fault", starts_again_s=RESTART_SECONDS)
            await anyio.sleep(RESTART_SECONDS)

    async def run_once(self) -> None:
        """Refresh, deliver to who is there, wait for the answers.

        LoginNeeded or another SenderError where the refresh failed: a token that is still valid
        was delivered all the same. NobodyReceived where nobody took the new one.
        """
        async with anyio.create_task_group() as group:
            group.start_soon(self._delivery.run)
            problem = await self._refresh_once()
            receivers = await self._delivery.settle(SETTLE_SECONDS)
            await self._mirror.write()
            group.cancel_scope.cancel()
        if problem is not None:
            raise problem
        # The old token is offered too, while the new one is fetched: who took that alone has none.
        token = self._refresher.state.token
        if token is None or all(receiver.serial != token.serial for receiver in receivers):
            reasons = "".join(f"; {one.path}: {one.error}" for one in receivers)
            raise NobodyReceived(
                f"{self.name}: refreshed, but nobody received the token{reasons}. "
                f"To have a receiver: tokenrelay listen {self.name}"
            )

    def wake(self) -> None:
        """Look at once whether a refresh is due: the clocks have jumped."""
        self._refresher.wake()

    async def refresh(self) -> dict[str, Any]:
        """Refresh now; return what the new token is, without its secret."""
        return describe_token(await self._refresher.refresh_now(reason="asked by a command"))

    async def settle(self) -> bool:
        """Wait until no refresh is in flight. False: a new token is in memory alone, since its
        disk refuses it, and would end with this runner."""
        return await self._refresher.settle()

    def current_token(self) -> dict[str, Any]:
        """Return the valid token with its secret, or raise a SenderError that says why none."""
        state = self._refresher.state
        token = state.token
        if token is not None and token.expires_at > self._clock.wall():
            return {
                **describe_token(token),
                "access_token": token.access_token,
                "token_type": token.token_type,
                "scope": token.scope,
                "grant_expires_at": token.grant_expires_at,
            }
        # The cause names the account and what to type.
        cause = state.last_error or f"{self.name}: none has come yet"
        message = f"there is no valid token: {cause}"
        if state.phase in ("login_needed", "lost_rotation"):
            raise LoginNeeded(message)
        raise RefreshFailed(message)

    @property
    def phase(self) -> Phase:
        """How its refreshing stands."""
        return self._refresher.state.phase

    @property
    def awaits_answer(self) -> bool:
        """Whether its end has to wait for the provider."""
        return self._refresher.awaits_answer

    @property
    def unsaved(self) -> bool:
        """Whether a new token of its is in memory alone."""
        return self._refresher.unsaved

    @property
    def stalled(self) -> bool:
        """Whether the refresh loop, once begun, gave no sign of life for longer than it may."""
        return self._beat is not None and anyio.current_time() - self._beat > self._patience

    @property
    def _patience(self) -> float:
        # At most three requests between two signs of life: discovery looks at two places.
        return LONGEST_SLEEP + 3 * self.account.timeout + RESTART_SECONDS + SLACK_SECONDS

    def status(self) -> dict[str, Any]:
        """Return the account's entry of the `status` reply; it holds no secret."""
        state = self._refresher.state
        return {
            "name": self.name,
            "token_file": str(self.account.token_file),
            "phase": state.phase,
            "token": None if state.token is None else describe_token(state.token),
            "granted_at": None if state.token is None else state.token.granted_at,
            "grant_expires_at": None if state.token is None else state.token.grant_expires_at,
            "login_warning": self._watch.warning,
            "last_refresh_at": state.last_refresh_at,
            "next_refresh_at": state.next_refresh_at,
            "refreshes": state.refreshes,
            "failures": state.failures,
            "last_error": state.last_error,
            "receivers": [asdict(receiver) for receiver in self._delivery.receivers],
        }

    def _publish(self, token: TokenSet) -> None:
        self._delivery.publish(token)
        self._mirror.publish(token)

    def _request_refresh(self, serial: int) -> str | None:
        return self._refresher.request(serial)

    def _raise_serial(self, serial: int) -> None:
        self._refresher.raise_serial(serial)

    async def _sleep(self, seconds: float) -> None:
        # The refresh loop waits for nothing else without a bound of its own.
        self._beat = anyio.current_time()
        await anyio.sleep(seconds)

    async def _refresh_once(self) -> SenderError | None:
        try:
            await self._refresher.refresh_now(reason="run --once")
        except SenderError as error:
            return error
        return None
