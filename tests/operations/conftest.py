"""The sender as its operator sees it: watched in a terminal, scraped by Prometheus.

They need Debian's prometheus and tmux, so they are no part of the ordinary suite:
    pytest tests/operations
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "py"))

from support.fixtures import host, short_path, start
from support.programs import RECEIVE, TOKENRELAY, Program, Start, wait_for_tokens
from support.provider import Provider, start_provider

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.host import Host

__all__ = ["host", "short_path", "start"]


@pytest.fixture
def provider(short_path: Path) -> Iterator[Provider]:
    """django-oauth-toolkit; a token lives 10 minutes, so nothing is refreshed unasked."""
    provider = start_provider(short_path, access_token_seconds=600)
    yield provider
    provider.program.dispose()


@pytest.fixture
def receiver(start: Start) -> Program:
    """A program that receives the account `main`."""
    receiver = start(*RECEIVE)
    receiver.wait_for_event("ready")
    return receiver


@pytest.fixture
def sender(provider: Provider, host: Host, start: Start, receiver: Program) -> Program:
    """A sender that the test has configured and that has fed the receiver."""
    sender = start(*TOKENRELAY, "run")
    sender.wait_for_event("ready")
    wait_for_tokens(receiver, 1)
    return sender


@pytest.fixture
def program() -> Callable[[str], str]:
    """A function that finds a program of the system, or says how to get it."""

    def find(name: str) -> str:
        path = shutil.which(name)
        assert path is not None, "the operations tests need: apt-get install prometheus tmux"
        return path

    return find
