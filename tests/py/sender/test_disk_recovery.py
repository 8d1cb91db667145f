"""What the disk refused for a while is neither forgotten nor taken for the end of the login."""

from __future__ import annotations

import errno
import json
import os
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import anyio
import pytest
import structlog
from anyio.lowlevel import checkpoint
from sender_support import FakeClock, account, granted, stored

from tokenrelay.sender.errors import VaultError
from tokenrelay.sender.oauth_response import Outcome, classify
from tokenrelay.sender.refresher import Refresher
from tokenrelay.sender.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tokenrelay.sender.tokens import TokenSet


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    vault = Vault(tmp_path / "main.json", wall=FakeClock().wall)
    vault.store(stored())
    return vault


class Failing:
    """A function of `os` that fails while ``armed``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.armed = True
        self._whole: Callable[..., Any] = getattr(os, name)
        monkeypatch.setattr(os, name, self)

    def __call__(self, *arguments: Any) -> Any:
        if self.armed:
            raise OSError(errno.EIO, "Input/output error")
        return self._whole(*arguments)


def test_token_that_could_not_be_saved_is_what_the_next_transaction_starts_from(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would spend the refresh token on file, which is spent already."""
    disk = Failing(monkeypatch, "fsync")
    disk.armed = False
    with vault.transaction() as transaction:
        transaction.prepare()
        disk.armed = True
        with pytest.raises(VaultError):
            transaction.commit(transaction.token.replace(refresh_token="refresh-1"))
    with vault.transaction() as transaction:
        assert transaction.unsaved
        assert transaction.token.refresh_token == "refresh-1"
    disk.armed = False
    with vault.transaction() as transaction:
        assert not transaction.unsaved
    saved = vault.load()
    assert saved is not None
    assert saved.refresh_token == "refresh-1"


def test_login_stored_meanwhile_wins_over_a_token_that_could_not_be_saved(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as context, vault.transaction() as transaction:
        Failing(context, "ftruncate")
        with pytest.raises(VaultError):
            transaction.commit(transaction.token.replace(refresh_token="refresh-1"))
    Vault(vault.path).store(stored(7))
    with vault.transaction() as transaction:
        assert transaction.token.refresh_token == "refresh-7"


@pytest.mark.parametrize("name", ["fstat", "read"])
def test_file_that_cannot_be_read_for_a_while_is_served_as_soon_as_it_can(
    vault: Vault, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Nothing on the file itself tells that the fault has passed."""
    disk, clock = Failing(monkeypatch, name), FakeClock()
    published: list[TokenSet] = []
    naps: list[float] = []

    async def sleep(seconds: float) -> None:
        naps.append(seconds)
        clock.advance(seconds)
        await checkpoint()
        disk.armed = len(naps) < 3
        if published or len(naps) > 5:
            scopes[0].cancel()

    async def refresh(_: str, **_options: float) -> Outcome:
        return classify(200, {}, json.dumps(granted(1)).encode(), clock.wall())

    async def run() -> None:
        endpoint = SimpleNamespace(refresh=refresh, endpoints=SimpleNamespace(token_url=None))
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            await Refresher(
                account(vault.path, None), vault, cast("Any", endpoint),
                publish=published.append, clock=clock, random=Random(1),
                log=structlog.get_logger(), sleep=sleep,
            ).run()  # fmt: skip

    scopes: list[anyio.CancelScope] = []
    anyio.run(run)
    assert [token.access_token for token in published] == ["access-0"]
    assert naps[:3] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("name", ["close", "unlink"])
def test_fault_of_what_no_longer_matters_does_not_undo_a_commit(
    vault: Vault, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with monkeypatch.context() as context, vault.transaction() as transaction:
        transaction.prepare()
        Failing(context, name)
        transaction.commit(transaction.token.replace(refresh_token="refresh-1"))
        assert not transaction.unsaved
    saved = vault.load()
    assert saved is not None
    assert saved.refresh_token == "refresh-1"
