"""The sender as a service: all accounts, the control socket, the signals that end it."""

from __future__ import annotations

import os
import signal
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from tokenrelay.paths import runtime_directories
from tokenrelay.sender.account_runner import AccountRunner
from tokenrelay.sender.clock import Clock, SystemClock
from tokenrelay.sender.clock_steps import ClockSteps
from tokenrelay.sender.control import ControlServer, Reply
from tokenrelay.sender.errors import ConfigurationError, LoginNeeded, NobodyReceived, SenderError
from tokenrelay.sender.logs import get_log
from tokenrelay.sender.process import forbid_core_dumps

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from tokenrelay.sender.config import Config


class Service:
    """Keeps every account of the configuration refreshed and its receivers fed."""

    def __init__(self, config: Config, *, clock: Clock | None = None) -> None:
        self._config = config
        self._clock = clock or SystemClock()
        self._log = get_log()
        self._runtimes = runtime_directories()

    async def run(self, *, once: bool = False, ready: Callable[[], None] | None = None) -> int:
        """Run until SIGTERM or SIGINT, or once; return the exit code.

        A refresh that has reached the provider is finished first, bounded by the account's
        `timeout`. `ready` is called, and the event "ready" logged, when the control socket and all
        watches are up. SenderError where another sender runs or no socket can be made.
        """
        forbid_core_dumps()
        self._started_at = self._clock.wall()
        self._accounts = self._make_accounts()
        handlers = {"status": self._status, "refresh": self._refresh, "token": self._token}
        with ControlServer(self._runtimes[0], handlers) as control:
            return await self._run(control, once=once, ready=ready)

    def _make_accounts(self) -> dict[str, AccountRunner]:
        return {
            name: AccountRunner(account, runtimes=self._runtimes, clock=self._clock, log=self._log)
            for name, account in self._config.accounts.items()
        }

    async def _run(
        self, control: ControlServer, *, once: bool, ready: Callable[[], None] | None
    ) -> int:
        code = SenderError.exit_code if once else 0
        # Held to the end: a second signal must not end a refresh that is being finished.
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async with anyio.create_task_group() as group:
                group.start_soon(self._end_on_signal, signals, group.cancel_scope)
                group.start_soon(control.run)
                if once:
                    code = await self._run_once()
                    group.cancel_scope.cancel()
                else:
                    group.start_soon(self._follow_clock)
                    await self._run_accounts(partial(self._tell_ready, control, ready))
        self._log.info("ended")
        return code

    async def _run_accounts(self, all_ready: Callable[[], None]) -> None:
        waiting = set(self._accounts)

        def account_ready(name: str) -> None:
            if waiting == {name}:
                all_ready()
            waiting.discard(name)

        async with anyio.create_task_group() as group:
            for name, account in self._accounts.items():
                group.start_soon(account.run, partial(account_ready, name))

    def _tell_ready(self, control: ControlServer, ready: Callable[[], None] | None) -> None:
        self._log.info(
            "ready", pid=os.getpid(), control=str(control.path), accounts=sorted(self._accounts)
        )
        if ready is not None:
            ready()

    async def _run_once(self) -> int:
        codes: list[int] = []
        async with anyio.create_task_group() as group:
            for account in self._accounts.values():
                group.start_soon(self._run_account_once, account, codes)
        # What needs a hand first: a login, then a failure, then nobody there.
        order = (LoginNeeded.exit_code, ConfigurationError.exit_code, SenderError.exit_code)
        return next((code for code in order if code in codes), max(codes, default=0))

    async def _run_account_once(self, account: AccountRunner, codes: list[int]) -> None:
        try:
            await account.run_once()
        except NobodyReceived as error:
            self._log.warning("nobody received", account=account.name, error=str(error))
            codes.append(error.exit_code)
        except SenderError as error:
            self._log.error("refresh failed", account=account.name, error=str(error))
            codes.append(error.exit_code)

    async def _end_on_signal(
        self, signals: AsyncIterator[signal.Signals], scope: anyio.CancelScope
    ) -> None:
        async for number in signals:
            self._log.info("ending", signal=number.name)
            scope.cancel()

    async def _follow_clock(self) -> None:
        try:
            steps = ClockSteps()
        except OSError as error:
            # Each account looks at both clocks every 30 s in any case.
            self._log.info("clock steps are noticed late", error=str(error))
            return
        with steps:
            while True:
                await steps.wait()
                self._log.info("clock set, or back from a suspend")
                for account in self._accounts.values():
                    account.wake()

    async def _status(self, _request: Mapping[str, Any]) -> Reply:
        return {
            "pid": os.getpid(),
            "started_at": self._started_at,
            "accounts": [account.status() for account in self._accounts.values()],
        }

    async def _refresh(self, request: Mapping[str, Any]) -> Reply:
        account = self._select(request)
        return {"account": account.name, **await account.refresh()}

    async def _token(self, request: Mapping[str, Any]) -> Reply:
        account = self._select(request)
        return {"account": account.name, **account.current_token()}

    def _select(self, request: Mapping[str, Any]) -> AccountRunner:
        name = request.get("account")
        if not isinstance(name, str) or name not in self._accounts:
            known = ", ".join(sorted(self._accounts))
            raise ConfigurationError(
                f"the running sender has no account {name!r}; it has: {known}. After a change of "
                f"{self._config.path} start it again"
            )
        return self._accounts[name]
