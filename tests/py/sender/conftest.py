"""Fixtures of the sender's tests."""

from __future__ import annotations

import pytest
from sender_support import provider

__all__ = ["provider"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
