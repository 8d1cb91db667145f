"""Fixtures of the command line's tests."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from support.command import Run, run_command

if TYPE_CHECKING:
    from support.host import Host


@pytest.fixture
def run(host: Host) -> Run:
    """A function that runs one command to its end in the host's environment."""
    return partial(run_command, host.environment)
