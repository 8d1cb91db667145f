"""The recipe of docs/coming-from.md, run as it is printed there, with the real package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import schwabdev
from interop_support import API_KEY, APP_SECRET, Feeder

from support.documents import blocks_of
from support.raw_sender import deliver

if TYPE_CHECKING:
    from pathlib import Path

    from interop_support import Schwab

    from tokenrelay import TokenReceiver

RECIPE, USE = (block.text for block in blocks_of(__file__).values())


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch, schwab_api: Schwab) -> dict[str, Any]:
    monkeypatch.setattr(schwabdev.client, "Tokens", schwabdev.client.Tokens)  # put back afterwards
    monkeypatch.setattr(schwabdev.client.ClientBase, "_base_api_url", schwab_api.origin)
    names: dict[str, Any] = {}
    exec(RECIPE, names)
    return names


def test_a_schwabdev_client_follows_three_rotations_and_never_refreshes(
    recipe: dict[str, Any], receiver: TokenReceiver, feeder: Feeder, schwab_api: Schwab
) -> None:
    schwab_api.grant()
    feeder.deliver(schwab_api.access_token)
    with recipe["relay_client"](receiver, API_KEY, APP_SECRET) as client:
        assert client.linked_accounts().status_code == 200
        for _ in range(3):
            schwab_api.grant()
            feeder.deliver(schwab_api.access_token)
            assert client.linked_accounts().status_code == 200
    assert [status for _, status in schwab_api.calls] == [200] * 4
    assert schwab_api.grants == []


def test_a_short_lived_token_is_no_reason_to_log_in(
    recipe: dict[str, Any], receiver: TokenReceiver, feeder: Feeder, schwab_api: Schwab
) -> None:
    """Schwabdev by itself would refresh at 61 s left, and log in anew in the last hour."""
    schwab_api.grant()
    feeder.deliver(schwab_api.access_token, expires_in=30)
    with recipe["relay_client"](receiver, API_KEY, APP_SECRET) as client:
        assert client.linked_accounts().status_code == 200
    assert schwab_api.grants == []


def test_the_recipe_of_the_documents_runs(
    recipe: dict[str, Any], short_path: Path, schwab_api: Schwab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENRELAY_RUNTIME_DIR", str(short_path / "run"))
    schwab_api.grant()
    make_client = recipe["relay_client"]

    def client(receiver: TokenReceiver, *keys: str) -> Any:
        deliver(receiver, schwab_api.access_token)
        return make_client(receiver, *keys)

    recipe |= {"relay_client": client, "app_key": API_KEY, "app_secret": APP_SECRET}
    exec(USE, recipe)
    recipe["client"].close()
    assert [status for _, status in schwab_api.calls] == [200]
