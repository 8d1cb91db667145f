"""Fixtures of the tests with other people's clients."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import pytest
from interop_fixtures import configured, run, schwab_api
from interop_support import Feeder

from tokenrelay import TokenReceiver

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["configured", "run", "schwab_api"]

with warnings.catch_warnings():
    # It imports what its own dependencies have deprecated.
    warnings.simplefilter("ignore")
    import schwab  # noqa: F401


@pytest.fixture
def receiver(short_path: Path) -> Iterator[TokenReceiver]:
    with TokenReceiver(path=short_path / "r.sock") as receiver:
        yield receiver


@pytest.fixture
def feeder(receiver: TokenReceiver) -> Iterator[Feeder]:
    feeder = Feeder(receiver)
    yield feeder
    feeder.close()
