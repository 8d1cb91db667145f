"""The sender as a service: all accounts, the control socket, the signals it obeys."""

from __future__ import annotations

import os
import signal
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import anyio
from anyio.to_thread import run_sync

from tokenrelay.paths import runtime_directories
from tokenrelay.sender.account_runner import AccountRunner
from tokenrelay.sender.clock import Clock, SystemClock
from tokenrelay.sender.clock_steps import ClockSteps
from tokenrelay.sender.config import load_config
from tokenrelay.sender.control import ControlServer, Reply
from tokenrelay.sender.delivery import open_watch
from tokenrelay.sender.ending import Ending
from tokenrelay.sender.errors import ConfigurationError, LoginNeeded, NobodyReceived, SenderError
from tokenrelay.sender.logs import get_log
from tokenrelay.sender.meter import NO_METER
from tokenrelay.sender.process import allow_all_descriptors, forbid_core_dumps
from tokenrelay.sender.running_accounts import RunningAccounts
from tokenrelay.sender.service_manager import ServiceManager
from tokenrelay.sender.turns import Turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from contextlib import AbstractContextManager

    from tokenrelay.sender.config import Account, Config
    from tokenrelay.sender.inotify import DirectoryWatch
    from tokenrelay.sender.metrics import Metrics

STATUS_SECONDS = 10.0  # how old what `systemctl status` shows may be
SHOWN_ACCOUNTS = 5


class Service:
    """Keeps every account of the configuration refreshed and its receivers fed.

    ``last_words``: writes the log's lines out where the process ends without Python's own end.
    ConfigurationError where an extra that the configuration needs is not installed.
    """

    def __init__(
        self,
        config: Config,
        *,
        clock: Clock | None = None,
        last_words: Callable[[], None] = lambda: None,
    ) -> None:
        self._config, self._last_words = config, last_words
        self._clock = clock or SystemClock()
        self._log = get_log()
        self._runtimes = runtime_directories()
        self._turns = Turns()
        self._manager = ServiceManager()
        self._metrics = self._make_metrics()
        self._terminal = os.isatty(0)
        self._refused: ConfigurationError | None = None

    async def run(self, *, once: bool = False, ready: Callable[[], None] | None = None) -> int:
        """Run until SIGTERM or SIGINT, or once; return the exit code. SIGHUP: read the
        configuration again; a bad one is refused and the old one stays in force.

        A refresh that has reached the provider is finished first, bounded by the account's
        `timeout`; a second signal ends the process at once, by that signal.

        `ready` is called, and the event "ready" logged, when the control socket and all watches
        are up. SenderError where another sender runs or no socket can be made.
        """
        forbid_core_dumps()
        allow_all_descriptors()
        self._started_at = self._clock.wall()
        # Asked for later it would be that of an upgrade which this process does not run yet.
        self._version = version("tokenrelay")
        handlers = {"status": self._status, "refresh": self._refresh, "token": self._token}
        with (
            ControlServer(self._runtimes[0], handlers, log=self._log) as control,
            open_watch(self._log) as watch,
            self._metrics as metrics,
        ):
            make_runner = partial(self._make_runner, watch, metrics)
            self._accounts = RunningAccounts(self._config.accounts, make_runner)
            async with anyio.create_task_group() as group:
                if watch is not None:
                    group.start_soon(watch.run)
                if metrics is not None:
                    group.start_soon(metrics.run, self._account_statuses)
                code = await self._run(control, once=once, ready=ready)
                group.cancel_scope.cancel()
        return code

    def _make_metrics(self) -> AbstractContextManager[Metrics | None]:
        where = self._config.sender.metrics
        if where is None:
            return nullcontext()
        from tokenrelay.sender.metrics import Metrics  # noqa: PLC0415 - an extra

        return Metrics(where, clock=self._clock)

    def _make_runner(
        self, watch: DirectoryWatch | None, metrics: Metrics | None, account: Account
    ) -> AccountRunner:
        return AccountRunner(
            account,
            runtimes=self._runtimes,
            watch=watch,
            turns=self._turns,
            meter=NO_METER if metrics is None else metrics.meter(account.name),
            clock=self._clock,
            log=self._log,
        )

    async def _run(
        self, control: ControlServer, *, once: bool, ready: Callable[[], None] | None
    ) -> int:
        code = SenderError.exit_code if once else 0
        with (
            anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as ends,
            anyio.open_signal_receiver(signal.SIGHUP) as hangups,
        ):
            async with anyio.create_task_group() as to_the_end:
                async with anyio.create_task_group() as group:
                    ending = Ending(
                        group.cancel_scope,
                        self._accounts.values,
                        manager=self._manager,
                        log=self._log,
                        last_words=self._last_words,
                    )
                    to_the_end.start_soon(ending.follow, ends)
                    group.start_soon(control.run)
                    if once:
                        code = await self._run_once()
                        group.cancel_scope.cancel()
                    else:
                        group.start_soon(self._follow_clock)
                        group.start_soon(self._reload_on_signal, hangups, ending)
                        group.start_soon(self._tell_manager)
                        await self._accounts.run(partial(self._tell_ready, control, ready))
                to_the_end.cancel_scope.cancel()
        self._log.info("ended")
        return code

    def _tell_ready(self, control: ControlServer, ready: Callable[[], None] | None) -> None:
        self._log.info(
            "ready", pid=os.getpid(), control=str(control.path), accounts=sorted(self._accounts)
        )
        self._manager.ready(self._summary())
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

    async def _reload_on_signal(
        self, signals: AsyncIterator[signal.Signals], ending: Ending
    ) -> None:
        async for number in signals:
            if self._terminal and not os.isatty(0):
                ending.begin(f"{number.name}: the terminal is closed")
            else:
                self._manager.reloading()
                await self._reload()
                self._manager.ready(self._summary())

    async def _reload(self) -> None:
        try:
            config = await run_sync(load_config, self._config.path)
        except ConfigurationError as error:
            self._log.error("configuration refused, the old one stays", error=str(error))
            self._refused = error
            return
        if config.sender != self._config.sender:
            self._log.warning("the table [sender] has changed: that counts from the next start")
        changes = await self._accounts.change_to(config.accounts)
        self._config, self._refused = config, None
        self._log.info("configuration reloaded", **asdict(changes))
        if changes.kept:
            self._log.error(
                "accounts left as they were: each has a new token that its disk does not take",
                accounts=changes.kept,
                hint="free the disk, see the token saved by tokenrelay status, then reload again",
            )

    async def _tell_manager(self) -> None:
        watchdog = self._manager.watchdog
        while True:
            await anyio.sleep(min(STATUS_SECONDS, watchdog / 3 if watchdog else STATUS_SECONDS))
            self._give_sign_of_life()

    def _give_sign_of_life(self) -> None:
        """Feeds the watchdog while every refresh loop lives: else systemd starts us anew."""
        stalled = [account.name for account in self._accounts.values() if account.stalled]
        if stalled:
            self._log.error("refresh loop stalled", accounts=stalled)
        else:
            self._manager.alive(self._summary())

    def _summary(self) -> str:
        """One line for `systemctl status`."""
        ailing = [
            f"{name}: {one.phase}" for name, one in self._accounts.items() if one.phase != "ok"
        ]
        good = len(self._accounts) - len(ailing)
        parts = [f"{good} of {len(self._accounts)} accounts ok", *ailing[:SHOWN_ACCOUNTS]]
        if self._refused is not None:
            parts.append(f"configuration refused: {self._refused}")
        return ", ".join(parts)

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
            "version": self._version,
            "config": str(self._config.path.absolute()),
            "configured_at": self._config.read_at,
            "config_error": None if self._refused is None else str(self._refused),
            "started_at": self._started_at,
            "accounts": self._account_statuses(),
        }

    def _account_statuses(self) -> list[dict[str, Any]]:
        return [account.status() for account in self._accounts.values()]

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
                f"{self._config.path}: kill -HUP {os.getpid()}"
            )
        return self._accounts[name]
