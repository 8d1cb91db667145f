"""The accounts in service: each runs on its own, and a new configuration changes only its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.abc import TaskGroup

    from tokenrelay.sender.account_runner import AccountRunner
    from tokenrelay.sender.config import Account


@dataclass(frozen=True, slots=True)
class Changes:
    """Names of the accounts that a new configuration started, ended and started anew; ``kept``:
    those that go on as they were, since each holds a token that its disk has not taken."""

    started: list[str]
    ended: list[str]
    restarted: list[str]
    kept: list[str]


class RunningAccounts(Mapping[str, "AccountRunner"]):
    """Runners by account name. For the event loop's thread."""

    def __init__(
        self, accounts: Mapping[str, Account], make_runner: Callable[[Account], AccountRunner]
    ) -> None:
        self._make_runner = make_runner
        self._runners = {name: make_runner(account) for name, account in accounts.items()}
        self._tasks: dict[str, _Task] = {}

    def __getitem__(self, name: str) -> AccountRunner:
        return self._runners[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._runners)

    def __len__(self) -> int:
        return len(self._runners)

    async def run(self, ready: Callable[[], None]) -> None:
        """Run all until cancelled; `ready` is called once every account's watches are up."""
        waiting = set(self._runners)

        def account_ready(name: str) -> None:
            if waiting == {name}:
                ready()
            waiting.discard(name)

        async with anyio.create_task_group() as self._group:
            for name, runner in self._runners.items():
                self._start(runner, partial(account_ready, name))
            await anyio.sleep_forever()

    async def change_to(self, accounts: Mapping[str, Account]) -> Changes:
        """Serve these accounts from now on, while `run` runs; those that are as before go on
        undisturbed. A refresh in flight is finished before its account ends or starts anew."""
        started = [name for name in accounts if name not in self]
        changed = [name for name in self if self[name].account != accounts.get(name)]
        kept: list[str] = []
        async with anyio.create_task_group() as group:
            for name in changed:
                group.start_soon(self._replace, name, accounts.get(name), kept)
            for name in started:
                self._add(accounts[name])
        replaced = [name for name in changed if name not in kept]
        return Changes(
            started=started,
            ended=[name for name in replaced if name not in accounts],
            restarted=[name for name in replaced if name in accounts],
            kept=kept,
        )

    def _add(self, account: Account) -> None:
        runner = self._runners[account.name] = self._make_runner(account)
        self._start(runner, lambda: None)

    async def _replace(self, name: str, account: Account | None, kept: list[str]) -> None:
        old, task = self._runners.pop(name), self._tasks.pop(name)
        # What commands ask from now on is the new one's to do.
        new = None if account is None else self._make_runner(account)
        if new is not None:
            self._runners[name] = new
        if not await old.settle():
            self._runners[name], self._tasks[name] = old, task
            kept.append(name)
            return
        await task.end()
        if new is not None:
            self._start(new, lambda: None)

    def _start(self, runner: AccountRunner, ready: Callable[[], None]) -> None:
        task = self._tasks[runner.name] = _Task(runner, ready)
        task.start(self._group)


class _Task:
    """One runner at work, which can be ended alone."""

    def __init__(self, runner: AccountRunner, ready: Callable[[], None]) -> None:
        self._runner, self._ready = runner, ready
        self._scope, self._ended = anyio.CancelScope(), anyio.Event()

    def start(self, group: TaskGroup) -> None:
        group.start_soon(self._run)

    async def _run(self) -> None:
        with self._scope:
            await self._runner.run(self._ready)
        self._ended.set()

    async def end(self) -> None:
        self._scope.cancel()
        await self._ended.wait()
