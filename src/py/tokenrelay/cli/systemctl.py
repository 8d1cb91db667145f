"""systemctl(1) and its relatives, for the units that `tokenrelay service` writes."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from tokenrelay.paths import home_directory
from tokenrelay.sender.errors import SenderError
from tokenrelay.sender.units import UNIT_NAME

LIMIT_SECONDS = 120.0
NO_MANAGER = {
    "--user": "There is no service manager of this user here: log in as the user itself (not by "
    "su or sudo), or have it run from boot: loginctl enable-linger. Then this command again",
    "--system": "This machine was not booted by systemd. Have whatever starts your programs "
    "start: tokenrelay run",
}


class NoManager(SenderError):
    """No service manager runs here for this user, or for the system."""


class Manager:
    """The user's service manager, or the system's."""

    def __init__(self, *, system: bool) -> None:
        self._scope = "--system" if system else "--user"

    def control(self, *arguments: str) -> None:
        """Run systemctl. SenderError with what it said; NoManager with what that means, too."""
        done = self._run(*arguments)
        if done.returncode == 0:
            return
        text = done.stderr.strip() or f"exit code {done.returncode}"
        message = f"systemctl {self._scope} {' '.join(arguments)}: {text}"
        if re.search("connect to .*bus", text):
            raise NoManager(f"{message}. {NO_MANAGER[self._scope]}")
        raise SenderError(message)

    def disable_unasked(self, unit: str) -> None:
        """Remove the links that start the unit, where there is no manager to ask."""
        # systemctl then works on the files alone: ENVIRONMENT.md of systemd.
        done = run("systemctl", self._scope, "--quiet", "disable", unit, SYSTEMD_OFFLINE="1")
        if done.returncode != 0:
            raise SenderError(f"systemctl {self._scope} disable {unit}: {done.stderr.strip()}")

    def is_active(self, unit: str) -> bool:
        return self._run("is-active", "--quiet", unit).returncode == 0

    def ask(self, *arguments: str, limit: float) -> str:
        """What systemctl prints. SenderError where the manager does not answer in time."""
        done = self._run(*arguments, limit=limit)
        if done.returncode != 0:
            raise SenderError(done.stderr.strip())
        return done.stdout

    def _run(
        self, *arguments: str, limit: float = LIMIT_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        return run("systemctl", self._scope, *arguments, limit=limit)


def run(
    *command: str, limit: float = LIMIT_SECONDS, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run one of systemd's programs to its end. SenderError where it is missing or hangs."""
    # A session by su(1) or of cron(8) lacks the variable, not the manager.
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
    environment = {**os.environ, "XDG_RUNTIME_DIR": runtime, **variables}
    try:
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=limit
        )
    except FileNotFoundError:
        raise SenderError(
            f"{command[0]} is missing: this machine has no systemd. Have whatever starts your "
            "programs start: tokenrelay run"
        ) from None
    except subprocess.TimeoutExpired:
        raise SenderError(f"{' '.join(command)}: no end within {limit:g} s") from None


def unit_path(*, system: bool) -> Path:
    """Where `tokenrelay service install` puts the unit. NoHomeError: the user's, without a home."""
    if system:
        return Path("/etc/systemd/system", UNIT_NAME)
    base = os.environ.get("XDG_CONFIG_HOME") or home_directory() / ".config"
    return Path(base, "systemd/user", UNIT_NAME)


def exposure(text: str, unit: str) -> str | None:
    """The exposure of a unit, 0 to 10, by systemd-analyze security; None where it cannot tell."""
    if shutil.which("systemd-analyze") is None:
        return None
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, unit)
        path.write_text(text)
        done = run("systemd-analyze", "security", "--no-pager", "--offline=true", os.fspath(path))
    found = re.search(r"Overall exposure level .*: ([\d.]+)", done.stdout)
    return found[1] if found else None


def user_name() -> str:
    """What loginctl(1) takes for this user: the name, else the number, as in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # without an entry in the user database; OSError from 3.13 on
        return str(os.getuid())


def lingers(user: str) -> bool:
    """Whether the user's manager runs from boot on, without a session: loginctl(1)."""
    return Path("/var/lib/systemd/linger", user).exists()
