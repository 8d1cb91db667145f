"""One account's receivers: found in the runtime directories, fed, kept.

Each receiver has a task of its own, and all share one newest frame, encoded once: whoever is slow
or stopped delays nobody, holds no queue, and gets the newest token when it comes back.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import anyio

from tokenrelay.paths import ensure_private_directory
from tokenrelay.sender import wire
from tokenrelay.sender.connection import Connection
from tokenrelay.sender.inotify import DirectoryWatch, Follower
from tokenrelay.sender.meter import NO_METER, Meter
from tokenrelay.sender.outlet import Frame, Outlet, ReceiverState
from tokenrelay.sender.socket_names import is_receiver, receivers_in

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from contextlib import AbstractContextManager
    from pathlib import Path

    from anyio.abc import TaskGroup
    from structlog.typing import FilteringBoundLogger

    from tokenrelay.sender.clock import Clock
    from tokenrelay.sender.tokens import TokenSet

# Only what inotify cannot tell: a directory's mode corrected, a mount above it.
_BACKSTOP_SECONDS = 5.0
_POLL_SECONDS = 1.0

__all__ = ["Delivery", "ReceiverState"]


class Delivery:
    """Delivers one account's tokens. Every member is for the event loop's thread.

    `runtime_directories`: where receivers of the account are discovered, below RUNTIME/ACCOUNT.
    `fixed_paths`: sockets named by the configuration. `allow_uids`: uids besides ours that may
    listen. `on_refresh_request(serial)`: returns None, or why there will be no refresh.
    `raise_serial(serial)`: told when a receiver holds this serial and refuses ours as older,
    up to HIGHEST_SERIAL_FOLLOWED.
    `watch`: tells of new receivers at once; without it they are looked for every second.
    """

    def __init__(
        self,
        account_name: str,
        *,
        runtime_directories: Collection[Path],
        fixed_paths: Collection[Path],
        include_refresh_token: bool,
        allow_uids: Collection[int],
        on_refresh_request: Callable[[int], str | None],
        watch: DirectoryWatch | None,
        clock: Clock,
        log: FilteringBoundLogger,
        raise_serial: Callable[[int], None] | None = None,
        meter: Meter = NO_METER,
    ) -> None:
        self._account = account_name
        self._runtimes = tuple(runtime_directories)
        self._directories = tuple(runtime / account_name for runtime in self._runtimes)
        self._fixed = frozenset(fixed_paths)
        self._include_refresh_token = include_refresh_token
        self._watch, self._log = watch, log
        self._connections: dict[Path, Connection] = {}
        self._unusable: dict[Path, str] = {}
        self._landmarks = _landmarks(self._directories, self._fixed)
        self._changed = anyio.Event()
        self._started = anyio.Event()
        self._outlet = Outlet(
            account_name=account_name,
            allowed_uids=frozenset(allow_uids),
            on_refresh_request=on_refresh_request,
            raise_serial=raise_serial,
            on_change=self._tell_change,
            meter=meter,
            clock=clock,
            log=log,
        )

    @property
    def receivers(self) -> tuple[ReceiverState, ...]:
        """What is known of every receiver now, by path."""
        return tuple(self._connections[path].state for path in sorted(self._connections))

    async def run(self, ready: Callable[[], None] | None = None) -> None:
        """Feed receivers until cancelled. `ready` is called once the watches are up."""
        self._connections.clear()
        follower = None if self._watch is None else Follower(self._watch)
        try:
            async with anyio.create_task_group() as group:
                self._scan(follower, group)
                self._started.set()
                if ready is not None:
                    ready()
                while True:
                    with anyio.move_on_after(_BACKSTOP_SECONDS if follower else _POLL_SECONDS):
                        await self._wait_for_change(follower)
                    self._scan(follower, group)
        finally:
            if follower is not None:
                follower.follow(())

    def publish(self, token: TokenSet) -> None:
        """Offer the token to every receiver, now and on connect. Never blocks; newest wins."""
        try:
            line = wire.encode(
                token, account=self._account, include_refresh_token=self._include_refresh_token
            )
        except ValueError as error:
            self._log.error("the token cannot be sent", error=str(error), serial=token.serial)
            return
        self._outlet.frame = Frame(line, token.serial, token.expires_at)
        for connection in self._connections.values():
            connection.wake()

    async def settle(self, timeout: float) -> tuple[ReceiverState, ...]:  # noqa: ASYNC109
        """Wait until everyone now there has taken or refused the newest token, or the time is up.

        `timeout` in seconds. Returns all receivers.
        """
        with anyio.move_on_after(timeout):
            await self._started.wait()
            while not all(connection.settled for connection in self._connections.values()):
                await self._changed.wait()
        return self.receivers

    async def _wait_for_change(self, follower: Follower | None) -> None:
        if follower is None:
            await anyio.sleep_forever()
        else:
            while not any(map(self._concerns_us, await follower.wait())):
                pass

    def _concerns_us(self, path: Path) -> bool:
        if path in self._landmarks:
            return True
        return path.parent in self._directories and is_receiver(path.name)

    def _scan(self, follower: Follower | None, group: TaskGroup) -> None:
        usable = [
            runtime / self._account
            for runtime in self._runtimes
            if self._prepare(runtime / self._account)
        ]
        if follower is not None:
            follower.follow({*self._directories, *(path.parent for path in self._fixed)})
        # One that is gone since it was prepared has none: the watch tells when it is back.
        found = [path for directory in usable for path in receivers_in(directory)]
        for path in (*self._fixed, *found):
            if known := self._connections.get(path):
                known.check_path()
            else:
                connection = Connection(path, self._outlet, discovered=path not in self._fixed)
                self._connections[path] = connection
                group.start_soon(self._serve, connection)

    async def _serve(self, connection: Connection) -> None:
        await connection.run()
        del self._connections[connection.path]
        self._tell_change()

    def _prepare(self, directory: Path) -> bool:
        """Make RUNTIME/ACCOUNT where its base exists; return whether receivers may be in it."""
        runtime = directory.parent
        try:
            if not runtime.parent.is_dir():
                return False
            ensure_private_directory(runtime)
            ensure_private_directory(directory)
        except OSError as error:
            if self._unusable.get(directory) != str(error):
                self._unusable[directory] = str(error)
                self._log.warning("runtime directory not used", error=str(error))
            return False
        self._unusable.pop(directory, None)
        return True

    def _tell_change(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()


def open_watch(log: FilteringBoundLogger) -> AbstractContextManager[DirectoryWatch | None]:
    """The watch for all accounts; None where this user has no more of them."""
    try:
        return DirectoryWatch()
    except OSError as error:
        log.warning(
            "no watch on the runtime directories: looking every second instead",
            error=error.strerror,
            hint="raise fs.inotify.max_user_instances (sysctl), then start the sender again",
        )
        return nullcontext()


def _landmarks(directories: Collection[Path], fixed: Collection[Path]) -> frozenset[Path]:
    """The paths whose coming or going means: look again."""
    bases = (base for path in (*directories, *fixed) for base in path.parents)
    return frozenset((*directories, *fixed, *bases))
