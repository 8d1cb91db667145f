"""A user of the machine, and what tests do as that user."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.programs import SUPPORT

if TYPE_CHECKING:
    from collections.abc import Sequence

REFUSED = {
    "LockPersonality": "EPERM",
    "MemoryDenyWriteExecute": "EPERM",
    "RestrictAddressFamilies": "EAFNOSUPPORT",
    "RestrictNamespaces": "EPERM",
    "RestrictSUIDSGID": "EPERM",
    "SystemCallFilter": "EPERM",
}
"""How probe.py fares in either unit; without one, all of it is allowed."""
PYTHON = Path("/opt/tokenrelay/bin/python")
COMMAND = PYTHON.with_name("tokenrelay")
SHARED = Path("/opt/tests")


@dataclass(frozen=True)
class Account:
    """A user with a home."""

    name: str
    uid: int
    gid: int
    home: Path

    @classmethod
    def named(cls, name: str) -> Account:
        entry = pwd.getpwnam(name)
        return cls(name, entry.pw_uid, entry.pw_gid, Path(entry.pw_dir))

    @property
    def environment(self) -> dict[str, str]:
        """As pam_systemd(8) sets it for a session."""
        return {
            "HOME": str(self.home),
            "USER": self.name,
            "PATH": f"{COMMAND.parent}:{os.environ['PATH']}",
            "XDG_RUNTIME_DIR": f"/run/user/{self.uid}",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def command(self, *arguments: str | Path) -> list[str]:
        ids = (f"--reuid={self.uid}", f"--regid={self.gid}", "--init-groups")
        return ["setpriv", *ids, *map(str, arguments)]

    def run(
        self, *arguments: str | Path, succeed: bool = True, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of this user's to its end."""
        done = subprocess.run(
            self.command(*arguments),
            env={**self.environment, **environment},
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
            timeout=90,
        )
        assert not succeed or done.returncode == 0, done.stdout + done.stderr
        return done

    def tokenrelay(
        self, *arguments: str | Path, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        return self.run(PYTHON, "-P", "-m", "tokenrelay", *arguments, **options)

    def write(self, path: Path, text: str) -> Path:
        """A file of this user's own, for it alone."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(text)
        for each in (path, *path.parents):
            if each != self.home and each.is_relative_to(self.home):
                os.chown(each, self.uid, self.gid)
        os.chown(path, self.uid, self.gid)
        return path


def shared(program: str) -> Path:
    """A helper of the tests where every user can read it."""
    SHARED.mkdir(exist_ok=True)
    source = next(path for path in (SUPPORT, Path(__file__).parent) if (path / program).exists())
    return Path(shutil.copy(source / program, SHARED))


def probing_unit(unit: str, places: Sequence[str], output: Path) -> str:
    """The unit, with probe.py in the sender's place."""
    command = " ".join([str(PYTHON), str(shared("probe.py")), *places])
    unit = re.sub(r"(?m)^Type=.*$", f"Type=oneshot\nStandardOutput=truncate:{output}", unit)
    return re.sub(r"(?m)^ExecStart=.*$", f"ExecStart={command}", unit)


def fingerprint(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()[:8]


def follow_journal(*matches: str) -> dict[str, str]:
    """The first record of the journal with these fields, once there is one."""
    command = ["journalctl", "--follow", "--lines=all", "--output=json", *matches]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as follower:
        assert follower.stdout is not None
        record: dict[str, str] = json.loads(follower.stdout.readline())
        follower.terminate()
    return record
