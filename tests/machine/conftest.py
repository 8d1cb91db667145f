"""The machine's clock, and a host in its memory.

tests/machine/run .venv/bin/pytest tests/machine
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "py"))
sys.path.insert(0, str(Path(__file__).parents[1] / "py" / "sender"))

from sender_support import Provider

from support.fixtures import host, start

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["host", "start"]


def pytest_configure() -> None:
    if "User Mode Linux" not in Path("/proc/cpuinfo").read_text():
        pytest.exit("these tests set the clock and suspend: begin with tests/machine/run", 2)


@pytest.fixture
def short_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In the machine's memory, where files have the owner that made them."""
    return tmp_path_factory.mktemp("relay")


@pytest.fixture
def provider() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.close()


@pytest.fixture(autouse=True)
def right_time() -> Iterator[None]:
    """Sets the clock back to where it would be, for whatever is measured by it."""
    before = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    yield
    time.clock_settime(time.CLOCK_REALTIME, before + time.clock_gettime(time.CLOCK_BOOTTIME))
