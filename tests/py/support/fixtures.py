"""Fixtures of every suite: one user's host, started programs."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.host import Host
from support.programs import Program, Start

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


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
