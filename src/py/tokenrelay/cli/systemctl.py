"""systemctl(1) and its relatives, for the units that `tokenrelay service` writes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from tokenrelay.sender.errors import SenderError

LIMIT_SECONDS = 120.0


class Manager:
    """The user's service manager, or the system's."""

    def __init__(self, *, system: bool) -> None:
        self._scope = "--system" if system else "--user"

    def control(self, *arguments: str) -> None:
        """Run systemctl. SenderError with what it said, and what that means."""
        done = self._run(*arguments)
        if done.returncode != 0:
            text = done.stderr.strip() or f"exit code {done.returncode}"
            raise SenderError(f"systemctl {self._scope} {' '.join(arguments)}: {text}{_cure(text)}")

    def is_active(self, unit: str) -> bool:
        return self._run("is-active", "--quiet", unit).returncode == 0

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return run("systemctl", self._scope, *arguments)


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run one of systemd's programs to its end. SenderError where it is missing or hangs."""
    try:
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=LIMIT_SECONDS
        )
    except FileNotFoundError:
        raise SenderError(
            f"{command[0]} is missing: this machine has no systemd. Have whatever starts your "
            "programs start: tokenrelay run"
        ) from None
    except subprocess.TimeoutExpired:
        raise SenderError(f"{' '.join(command)}: no end within {LIMIT_SECONDS:g} s") from None


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


def lingers(user: str) -> bool:
    """Whether the user's manager runs from boot on, without a session: loginctl(1)."""
    return Path("/var/lib/systemd/linger", user).exists()


def _cure(text: str) -> str:
    if "bus" in text or "XDG_RUNTIME_DIR" in text:
        return (
            ". There is no service manager of this user here: log in as the user itself (not by su "
            "or sudo), or have it run from boot: loginctl enable-linger"
        )
    return ""
