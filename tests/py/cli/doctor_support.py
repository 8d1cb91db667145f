"""A host on which `doctor` finds nothing, and a provider whose clock can be wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from support.host import Host, write_private
from support.ports import free_port
from support.programs import TOKENRELAY, Program

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator
    from pathlib import Path

DAY = 86_400


class Provider(ThreadingHTTPServer):
    """Answers everything with 400; refuses every refresh token for good."""

    def __init__(self, *, clock_ahead: float = 0.0, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.clock_ahead = clock_ahead
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.origin = f"{'https' if tls else 'http'}://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: Any) -> None:
        """A client that does not trust the certificate leaves in the middle."""


class _Answer(BaseHTTPRequestHandler):
    server: Provider

    def do_HEAD(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(b'{"error": "invalid_grant"}')

    def _answer(self, body: bytes) -> None:
        self.send_response(400)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string(time.time() + self.server.clock_ahead)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@contextmanager
def serving(provider: Provider) -> Iterator[Provider]:
    with provider:
        threading.Thread(target=provider.serve_forever, args=(0.01,), daemon=True).start()
        yield provider
        provider.shutdown()


class Patient:
    """A host with one account, `main`, a running sender and no systemd."""

    def __init__(self, host: Host, start: Callable[..., Program], origin: str) -> None:
        self.host, self.origin, self._start = host, origin, start
        self.port = free_port()
        self.configure()
        host.state.mkdir(mode=0o700)
        self.store()
        self.bin = host.root / "bin"
        self.hide_service_managers()
        self.sender = self.run(*TOKENRELAY, "run")
        self.sender.wait_for_event("ready")

    @property
    def environment(self) -> dict[str, str]:
        """Ours comes first in PATH, so that no unit of this machine is looked at."""
        return {
            **self.host.environment,
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "XDG_STATE_HOME": str(self.host.root),
        }

    def run(self, *command: str | Path) -> Program:
        return self._start(*command, environment=self.environment)

    def run_python(self, text: str, *arguments: str | Path) -> Program:
        program = self.run(sys.executable, "-c", text, *arguments)
        program.wait_for(lambda line: line.text == "ready")
        return program

    def configure(self, **changes: Any) -> None:
        """Write the configuration; for a sender that runs it is as old as before."""
        values = {
            "client_id": "c",
            "token_url": f"{self.origin}/token",
            "redirect_uri": f"http://127.0.0.1:{self.port}/callback",
            "login_lifetime": "7d",
            **changes,
        }
        path = self.host.config
        before = path.stat().st_mtime if path.exists() else None
        lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        text = ["[accounts.main]", *lines, "[sender]", 'log_format = "json"', ""]
        write_private(path, "\n".join(text))
        if before is not None:
            os.utime(path, (before, before))

    def store(self, *, granted_ago: float = DAY, **changes: Any) -> None:
        """Put a login on file as if it had been made so long ago."""
        now = int(time.time())
        token = {
            "access_token": "access",
            "refresh_token": "refresh",
            "expires_at": now + 1800,
            "issued_at": now,
            "granted_at": now - int(granted_ago),
            "serial": now * 1000,
            **changes,
        }
        write_private(self.host.token_file(), json.dumps(token))

    def hide_service_managers(self) -> None:
        """Have systemctl(1) find no manager; tests/systemd has units of a real one."""
        self.bin.mkdir()
        path = self.bin / "systemctl"
        path.write_text("#!/bin/sh\nexit 1\n")
        path.chmod(0o755)

    def examine(self) -> list[dict[str, Any]]:
        """What `doctor` finds to mend."""
        done = subprocess.run(
            [*TOKENRELAY, "doctor", "--json"], env=self.environment, capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip
        assert done.stdout, done.stderr
        findings = json.loads(done.stdout)["findings"]
        found = [finding for finding in findings if finding["level"] != "ok"]
        faults = any(finding["level"] == "fault" for finding in found)
        assert done.returncode == (1 if faults else 0)
        return found

    def follow(self, cure: str) -> None:
        """Type the command that `doctor` named."""
        subprocess.run(["bash", "-ec", cure], env=self.environment, timeout=30, check=True)
