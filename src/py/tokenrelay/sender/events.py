"""`on_event`: a command of the user's that is told what happened, and can harm nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections import deque
from typing import TYPE_CHECKING, Literal

import anyio

if TYPE_CHECKING:
    from collections.abc import Mapping

    from structlog.typing import FilteringBoundLogger

    from tokenrelay.sender.clock import Clock

EventName = Literal[
    "token_refreshed", "refresh_failing", "login_ends_soon", "login_over", "receiver_lost"
]
LIMIT_SECONDS = 10.0
END_SECONDS = 1.0
PAUSE_SECONDS = 60.0  # between two runs for the same event
# What a desktop notification or a mail needs; a secret of the sender's may be in the others.
PASSED_ON = frozenset(
    """HOME PATH USER LOGNAME LANG LANGUAGE TZ
    DISPLAY WAYLAND_DISPLAY XAUTHORITY DBUS_SESSION_BUS_ADDRESS""".split()  # noqa: SIM905
)


class EventHook:
    """Runs ``command`` for each event of one account, one at a time. For the event loop's thread.

    Without a shell, and never with a secret; ended, with its children, after 10 s; at most once
    a minute for the same event: one that comes sooner is dropped.
    """

    def __init__(
        self, command: tuple[str, ...], account: str, *, clock: Clock, log: FilteringBoundLogger
    ) -> None:
        self._command, self._account = command, account
        self._clock, self._log = clock, log
        self._last: dict[str, float] = {}
        self._waiting: deque[EventName] = deque()
        self._wake = anyio.Event()

    def notify(self, event: EventName) -> None:
        """Have the command run for ``event``; never blocks."""
        now = self._clock.boot()
        if not self._command or now - self._last.get(event, -PAUSE_SECONDS) < PAUSE_SECONDS:
            return
        self._last[event] = now
        self._waiting.append(event)
        self._wake.set()

    async def run(self) -> None:
        """Run commands until cancelled."""
        while True:
            await self._wake.wait()
            self._wake = anyio.Event()
            while self._waiting:
                await self._run_one(self._waiting.popleft())

    async def _run_one(self, event: EventName) -> None:
        command = fill(self._command, event=event, account=self._account)
        try:
            code = await _run_bounded(command)
        except (OSError, ValueError) as error:
            self._log.warning("on_event cannot be run", on_event=event, error=str(error))
            return
        if code is None:
            self._log.warning("on_event ended by us", on_event=event, after_s=LIMIT_SECONDS)
        elif code != 0:
            self._log.warning("on_event failed", on_event=event, exit_code=code)


def fill(command: tuple[str, ...], **values: str) -> list[str]:
    """The command with each ``{name}`` replaced; any other brace stays as it is."""
    words = list(command)
    for name, value in values.items():
        words = [word.replace(f"{{{name}}}", value) for word in words]
    return words


def safe_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables that the command gets."""
    return {
        name: value
        for name, value in variables.items()
        if name in PASSED_ON or name.startswith(("LC_", "XDG_"))
    }


async def _run_bounded(command: list[str]) -> int | None:
    """The exit code; None where the time was up."""
    process = await anyio.open_process(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=safe_environment(os.environ),
        start_new_session=True,
    )
    try:
        with anyio.move_on_after(LIMIT_SECONDS):
            return await process.wait()
        return None
    finally:
        if process.returncode is None:
            _end_group(process.pid)
            with anyio.move_on_after(END_SECONDS, shield=True):
                await process.wait()


def _end_group(pid: int) -> None:
    # It may be gone, or have become another user's by now.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
