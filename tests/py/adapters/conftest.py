"""Fixtures of the adapters' tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from adapters_support import ADAPTERS

from support.programs import TOKENRELAY
from support.raw_sender import Sender
from support.strict import StrictApi
from tokenrelay import TokenReceiver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from adapters_support import MakeCalls

    from support.host import Host
    from support.programs import Start


@pytest.fixture(params=ADAPTERS)
def make_calls(request: pytest.FixtureRequest) -> MakeCalls:
    """One library after the other."""
    return ADAPTERS[request.param]


@pytest.fixture
def start_api() -> Iterator[Callable[..., StrictApi]]:
    """A function that starts the strict API; its options are `StrictApi.start`'s."""
    started: list[StrictApi] = []

    def start_one(*, kept: int = 2) -> StrictApi:
        started.append(StrictApi.start(kept=kept))
        return started[-1]

    yield start_one
    for api in started:
        api.program.dispose()


@pytest.fixture(scope="module")
def api() -> Iterator[StrictApi]:
    """One API for the tests of a module: it takes the login's token."""
    started = StrictApi.start()
    yield started
    started.program.dispose()


@pytest.fixture
def receiver(short_path: Path) -> Iterator[TokenReceiver]:
    """A started receiver that nobody but the test feeds."""
    with TokenReceiver(path=short_path / "r.sock") as started:
        yield started


@pytest.fixture
def sender(receiver: TokenReceiver) -> Iterator[Sender]:
    """A connection to the receiver."""
    with Sender(receiver) as connected:
        yield connected


@pytest.fixture
def fed(
    host: Host, start: Start, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[StrictApi], TokenReceiver]]:
    """A function that starts a sender for an API's login and returns a receiver of its tokens."""
    receivers: list[TokenReceiver] = []

    def feed(api: StrictApi) -> TokenReceiver:
        # Long enough for no refresh of its own, short enough for the budget of 22 asked for.
        host.configure(api, refresh_every="45s")
        host.import_login(api)
        start(*TOKENRELAY, "run").wait_for_event("ready")
        monkeypatch.setenv("TOKENRELAY_RUNTIME_DIR", str(host.runtime))
        receivers.append(TokenReceiver("main").start())
        receivers[-1].wait(20)
        return receivers[-1]

    yield feed
    for receiver in receivers:
        receiver.stop()
