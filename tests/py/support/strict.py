"""strict_api.py as a started program."""

from __future__ import annotations

import json
import sys
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.programs import Program

SERVER = Path(__file__).parent / "strict_api.py"


@dataclass(frozen=True, slots=True)
class StrictApi:
    """A running strict_api.py. Also all that `Host.configure` wants of a provider."""

    program: Program
    port: int
    grpc_port: int
    insecure_grpc_port: int
    client_id: str
    client_secret: str = field(repr=False)
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_at: int

    @classmethod
    def start(cls, *, kept: int = 2) -> StrictApi:
        program = Program([sys.executable, SERVER, "--kept", str(kept)])
        line = program.wait_for(lambda line: "port" in line.fields)
        return cls(program, **line.fields)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def token_url(self) -> str:
        return f"{self.origin}/o/token/"

    @property
    def resource_url(self) -> str:
        return f"{self.origin}/resource/"

    @property
    def grpc_target(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    def revoke(self) -> None:
        """Revoke the newest access token; return once the API refuses it."""
        self.program.write("revoke\n")
        self.program.wait_for_event("revoked")

    def log_in(self) -> dict[str, Any]:
        """Return the token pair of one more login, in the plain form of a token file."""
        seen = len(self.program.lines)
        self.program.write("login\n")
        line = self.program.wait_for(
            lambda line: line.index >= seen and line.fields.get("event") == "logged in"
        )
        names = ("access_token", "refresh_token", "expires_at")
        return {name: line.fields[name] for name in names}

    def report(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.origin}/report/", timeout=10) as response:
            report: dict[str, Any] = json.load(response)
        return report
