"""Fixtures of the ordinary suite: live providers, figures to print."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from support.cpp_package import install_library
from support.fixtures import host, short_path, start
from support.provider import Provider, StartProvider, start_provider

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["host", "short_path", "start"]
MEASURED = pytest.StashKey[list[str]]()


def pytest_configure() -> None:
    # A background job of a shell has SIGINT ignored, and so would every program it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("needs_root") and os.geteuid() != 0:
        pytest.skip("only root can play another user: sudo .venv/bin/pytest -m needs_root")


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


@pytest.fixture(scope="session")
def installed_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prefix that the C++ library was installed to, as a distribution would do it."""
    prefix = tmp_path_factory.mktemp("prefix")
    install_library(tmp_path_factory.mktemp("library"), prefix)
    return prefix


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
