"""Fixtures of the login's tests: a scripted provider, an account, a command that logs in."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "sender"))

from login_support import LoginCommand, configure
from sender_support import provider

from support.command import Run, run_command
from support.ports import free_port
from support.programs import TOKENRELAY

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender_support import Provider

    from support.host import Host
    from support.programs import Start

__all__ = ["provider"]


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def run(host: Host) -> Run:
    """A function that runs one command to its end in the host's environment."""
    return partial(run_command, host.environment)


@pytest.fixture
def log_in(host: Host, start: Start, provider: Provider, port: int) -> Callable[..., LoginCommand]:
    """A function that configures `main` with what it is given and starts `tokenrelay login`."""

    def start_login(*options: str, scheme: str = "http", **settings: Any) -> LoginCommand:
        redirect_uri = f"{scheme}://127.0.0.1:{port}/callback"
        configure(host, provider, redirect_uri=redirect_uri, **settings)
        arguments = options or ("--no-browser",)
        return LoginCommand(start(*TOKENRELAY, "login", *arguments), port)

    return start_login
