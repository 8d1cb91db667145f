"""Fixtures of the receiver's tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tokenrelay import TokenReceiver

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def runtime(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The runtime directory of this test and of the programs it starts."""
    path = short_path / "run"
    monkeypatch.setenv("TOKENRELAY_RUNTIME_DIR", str(path))
    return path


@pytest.fixture
def receiver() -> Iterator[TokenReceiver]:
    """A started receiver of the account `main`."""
    with TokenReceiver("main") as started:
        yield started
