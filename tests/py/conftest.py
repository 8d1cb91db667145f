"""Fixtures of every Python test: a short directory, started programs, live providers."""

from __future__ import annotations

import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.host import Host
from support.programs import Program, Start
from support.provider import Provider, StartProvider, start_provider

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MEASURED = pytest.StashKey[list[str]]()


def pytest_configure() -> None:
    # A background job of a shell has SIGINT ignored, and so would every program it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A private directory whose path leaves room for a socket's name (107 bytes in all)."""
    path = Path(tempfile.mkdtemp(prefix="relay-", dir="/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def host(short_path: Path) -> Host:
    """A user's runtime, state and configuration paths, all absent as on a fresh machine."""
    return Host(short_path)


@pytest.fixture
def start(host: Host) -> Iterator[Start]:
    """A function that starts a program in the host's environment."""
    programs: list[Program] = []

    def start_program(
        *arguments: str | Path, environment: Mapping[str, str] | None = None
    ) -> Program:
        program = Program(arguments, environment=environment or host.environment)
        programs.append(program)
        return program

    yield start_program
    for program in reversed(programs):
        program.dispose()


@pytest.fixture
def oauth_toolkit(short_path: Path) -> Iterator[StartProvider]:
    """A function that starts django-oauth-toolkit; its options are `start_provider`'s."""
    providers: list[Provider] = []

    def start_one(*, access_token_seconds: int = 6, grace_seconds: int = 0) -> Provider:
        provider = start_provider(
            short_path, access_token_seconds=access_token_seconds, grace_seconds=grace_seconds
        )
        providers.append(provider)
        return provider

    yield start_one
    for provider in providers:
        provider.program.dispose()


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """A function that adds a line to the figures printed after the run."""
    lines = request.config.stash.setdefault(MEASURED, [])
    return lambda text: lines.append(f"{request.node.name}: {text}")


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    lines = config.stash.get(MEASURED, [])
    if lines:
        terminalreporter.section("measured")
    for line in lines:
        terminalreporter.write_line(line)
