"""What every check uses: a provider, a fork server, and logins with their token files."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from select import select
from typing import Any

from tokenrelay.sender.errors import VaultError
from tokenrelay.sender.tokens import TokenSet
from tokenrelay.sender.vault import Vault

from .login import Login, number_of

PATIENCE = 30.0
PACKAGE = __package__ or "tests.reliability"
ROOT = Path(__file__).parents[len(PACKAGE.split("."))]
CONFIGURATION = """\
[accounts.main]
client_id = "the-client"
client_auth = "none"
token_url = "{url}"
token_file = "{file}"
rotation_grace = "{grace}s"
timeout = "5s"
"""


class RefreshProcess:
    """A forked process, ready to refresh. `go` starts it; `results` waits for its end."""

    def __init__(self, server: Path, order: dict[str, Any], *, patience: float = PATIENCE) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(patience)
        self._socket.connect(str(server))
        self._lines = self._socket.makefile()
        self._say(json.dumps(order))
        ready = json.loads(self._lines.readline())
        self.pid: int = ready["main"]
        self.threads = {"main": self.pid, "worker": int(ready["worker"])}

    def go(self) -> None:
        with suppress(BrokenPipeError):  # killed while it waited
            self._say("go")

    def ended_within(self, seconds: float) -> bool:
        """Whether it says something in that time; with ``tell`` false, that it has ended."""
        return bool(select([self._socket], [], [], seconds)[0])

    def results(self) -> list[dict[str, Any]]:
        """What it said until it ended, or was ended; TimeoutError if it does neither."""
        try:
            lines = list(self._lines)
        except ConnectionResetError:
            lines = []
        finally:
            self._lines.close()
            self._socket.close()
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def _say(self, line: str) -> None:
        # Unbuffered: what a process killed meanwhile did not take is not sent again at close.
        self._socket.sendall(f"{line}\n".encode())


@dataclass(slots=True)
class Subject:
    """One login: its token file, its configuration, and the provider's view of it."""

    laboratory: Laboratory
    name: str
    folder: Path
    vault: Vault
    config: Path

    @property
    def number(self) -> int:
        """The number of the refresh token on file; -1 where the file is not as it must be."""
        try:
            token = self.vault.load()
            mode = stat.S_IMODE(self.vault.path.stat().st_mode)
        except (VaultError, OSError):
            return -1
        if token is None or mode != 0o600:
            return -1
        return number_of(token.refresh_token or "")

    @property
    def facts(self) -> dict[str, Any]:
        return self.laboratory.order("report", self.name)

    def cut_next_answer(self, at: int, *, reset: bool) -> None:
        self.laboratory.order("cut", self.name, at=at, reset=reset)

    def set_clock(self, at: float) -> None:
        """Sets the clock of this login's grace, which then stands until it is set again."""
        self.laboratory.order("clock", self.name, at=at)

    def process(self, *, patience: float = PATIENCE, **order: Any) -> RefreshProcess:
        words = {"config": str(self.config), **order}
        return RefreshProcess(self.laboratory.server, words, patience=patience)

    def refresh(self, **order: Any) -> list[dict[str, Any]]:
        """One undisturbed refresh in a process of its own."""
        process = self.process(**order)
        process.go()
        return process.results()


@dataclass(slots=True)
class Laboratory:
    """Starts what the checks need and takes it down. Use as a context. Safe between threads."""

    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="reliability-")))
    _programs: list[subprocess.Popen[str]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _port: int = 0

    @property
    def server(self) -> Path:
        return self.folder / "server"

    def __enter__(self) -> Laboratory:
        self._port = int(self._start("provider"))
        self._start("refreshing", str(self.server))
        return self

    def __exit__(self, *_: object) -> None:
        for program in self._programs:
            program.kill()
            program.communicate()
        shutil.rmtree(self.folder)

    def subject(self, *, grace: float = 10.0, believed_grace: float | None = None) -> Subject:
        """A new login. ``believed_grace`` is what the sender's configuration says."""
        name = f"{next(self._numbers):06}"
        folder = self.folder / name
        folder.mkdir(mode=0o700)
        url = f"http://127.0.0.1:{self._port}/token"
        vault, config = Vault(folder / "token.json"), folder / "tokenrelay.toml"
        believed = grace if believed_grace is None else believed_grace
        config.write_text(CONFIGURATION.format(url=url, file=vault.path, grace=believed))
        self.order("new", name, grace=grace, file=str(vault.path))
        now = int(time.time())
        first: dict[str, Any] = Login(name, grace).tokens()
        vault.store(TokenSet(
            first["access_token"], now + 1800, first["refresh_token"], issued_at=now, granted_at=now
        ))  # fmt: skip
        return Subject(self, name, folder, vault, config)

    def order(self, order: str, login: str, **details: Any) -> dict[str, Any]:
        provider = self._programs[0]
        assert provider.stdin is not None
        assert provider.stdout is not None
        with self._lock:
            provider.stdin.write(json.dumps({"order": order, "login": login, **details}) + "\n")
            provider.stdin.flush()
            answer: dict[str, Any] = json.loads(provider.stdout.readline())
        return answer

    def _start(self, module: str, *arguments: str) -> str:
        places = [str(ROOT), *map(os.path.abspath, filter(None, sys.path))]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
        program = subprocess.Popen(
            [sys.executable, "-m", f"{PACKAGE}.{module}", *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        self._programs.append(program)
        assert program.stdout is not None
        return program.stdout.readline()
