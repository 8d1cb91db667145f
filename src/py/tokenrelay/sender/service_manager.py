"""The service manager that started us: sd_notify(3) and its watchdog, by the socket it names."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

STOP_SLACK_SECONDS = 20.0  # what a slow disk may add


class ServiceManager:
    """Tells systemd how we are; does nothing where it did not start us. Never blocks or raises."""

    def __init__(self, variables: Mapping[str, str] | None = None) -> None:
        variables = os.environ if variables is None else variables
        # An abstract address begins with a NUL byte, unix(7), which no variable can hold.
        self._address = variables.get("NOTIFY_SOCKET", "").replace("@", "\0", 1)
        self.watchdog: float | None = _watchdog_seconds(variables)
        """Seconds within which systemd wants a sign of life; None where it wants none."""

    def ready(self, status: str) -> None:
        """All is up, or up again after `reloading`."""
        self._tell("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """A change of the configuration begins; it ends with `ready`."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._tell("RELOADING=1", f"MONOTONIC_USEC={now}")

    def stopping(self, longest: float) -> None:
        """The end has begun; it takes ``longest`` seconds more at most."""
        # Never less than the unit's own TimeoutStopSec.
        patience = int((longest + STOP_SLACK_SECONDS) * 1e6)
        status = "waiting for an answer of the provider" if longest else "ending"
        self._tell("STOPPING=1", f"EXTEND_TIMEOUT_USEC={patience}", f"STATUS={status}")

    def alive(self, status: str) -> None:
        """A sign of life for the watchdog, with what `systemctl status` shows."""
        self._tell("WATCHDOG=1", f"STATUS={status}")

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        # A manager that is busy or gone is no reason to fail.
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as connection,
        ):
            connection.connect(self._address)
            connection.send("\n".join(line.replace("\n", " ") for line in lines).encode())


def _watchdog_seconds(variables: Mapping[str, str]) -> float | None:
    """As sd_watchdog_enabled(3) reads the environment."""
    text, pid = variables.get("WATCHDOG_USEC", ""), variables.get("WATCHDOG_PID", "")
    if not text.isdecimal() or (pid and pid != str(os.getpid())):
        return None
    return int(text) / 1e6 or None
