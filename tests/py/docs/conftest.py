"""What the programs of the documents take for granted: a sender, and an API for its tokens."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.host import Host
from support.programs import TOKENRELAY, Program
from support.strict import StrictApi

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def api() -> Iterator[StrictApi]:
    """A provider, and the API that its tokens are for."""
    api = StrictApi.start()
    yield api
    api.program.dispose()


@pytest.fixture(scope="module")
def fed_host(api: StrictApi) -> Iterator[Host]:
    """One user's directories, with a running sender of the account `schwab`."""
    with tempfile.TemporaryDirectory(prefix="relay-", dir="/tmp") as root:
        host = Host(Path(root))
        host.configure(api, name="schwab")
        host.import_login(api, name="schwab")
        sender = Program([*TOKENRELAY, "run"], environment=host.environment)
        sender.wait_for_event("ready")
        yield host
        sender.dispose()
