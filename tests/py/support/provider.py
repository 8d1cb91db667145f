"""django-oauth-toolkit as a live HTTP server."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.programs import Program

SERVER = Path(__file__).parents[1] / "providers" / "oauth_toolkit" / "server.py"


@dataclass(frozen=True, slots=True)
class Provider:
    """A running provider and the one login it knows."""

    program: Program
    base_url: str
    client_id: str
    client_secret: str = field(repr=False)
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_at: int

    @property
    def token_url(self) -> str:
        return f"{self.base_url}/o/token/"

    @property
    def resource_url(self) -> str:
        return f"{self.base_url}/resource/"

    def hold_answers(self) -> None:
        """From now on refreshes are carried out but not answered."""
        self.program.write("hold\n")

    def release_answers(self) -> None:
        self.program.write("release\n")

    def report(self) -> dict[str, Any]:
        """Return the provider's own counts (see providers/oauth_toolkit/edge.py)."""
        with urllib.request.urlopen(f"{self.base_url}/report/", timeout=10) as response:
            report: dict[str, Any] = json.load(response)
        return report


StartProvider = Callable[..., Provider]
"""The fixture `oauth_toolkit`: `start_provider` without the directory."""


def start_provider(
    directory: Path, *, access_token_seconds: int = 6, grace_seconds: int = 0
) -> Provider:
    """Start the server with a new database and return once it accepts connections."""
    arguments = {
        "--database": directory / "provider.sqlite3",
        "--access-token-seconds": access_token_seconds,
        "--grace-seconds": grace_seconds,
    }
    words = [str(word) for pair in arguments.items() for word in pair]
    program = Program([sys.executable, SERVER, *words])
    login = program.wait_for(lambda line: "port" in line.fields).fields
    return Provider(program=program, base_url=f"http://127.0.0.1:{login.pop('port')}", **login)
