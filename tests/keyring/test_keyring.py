"""`encrypt = "keyring"` with the keyring of a desktop session."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import secretstorage

from support.host import plain_login, write_private
from support.programs import TOKENRELAY
from tokenrelay.sender.sealing import MARK

if TYPE_CHECKING:
    from sender_support import Provider

    from support.host import Host
    from support.programs import Program, Start

CONFIGURATION = """\
[accounts.main]
client_id = "me"
client_auth = "none"
token_url = "{url}"
encrypt = "keyring"
"""
OURS = {"service": "tokenrelay", "username": "main"}


@pytest.fixture
def login(host: Host, provider: Provider) -> None:
    """An account that is to be encrypted, and the login to import."""
    write_private(host.config, CONFIGURATION.format(url=provider.token_url))
    write_private(host.root / "login.json", plain_login())


def run(start: Start, *command: str, code: int = 0) -> Program:
    program = start(*TOKENRELAY, *command)
    assert program.wait() == code, program.output
    return program


def files(host: Host) -> bytes:
    return b"".join(path.read_bytes() for path in host.state.iterdir() if path.is_file())


def bring_in(host: Host, start: Start) -> None:
    run(start, "import", str(host.root / "login.json"), "--account", "main")


@pytest.mark.usefixtures("login", "secret_service")
def test_the_session_keeps_the_key_and_the_disk_shows_no_token(
    session_bus: str, host: Host, start: Start, provider: Provider
) -> None:
    bring_in(host, start)
    run(start, "refresh")
    assert host.token_file().read_bytes().startswith(MARK)
    assert b"access-" not in files(host)
    assert b"refresh-" not in files(host)
    with secretstorage.dbus_init() as bus:
        (item,) = secretstorage.get_default_collection(bus).search_items(OURS)
        assert len(item.get_secret()) >= 32
    assert "access-1" in run(start, "show").output
    assert provider.requests == 1


@pytest.mark.usefixtures("login", "secret_service")
def test_a_locked_keyring_spends_nothing_and_says_so(
    host: Host, start: Start, provider: Provider
) -> None:
    bring_in(host, start)
    before = host.token_file().read_bytes()
    with secretstorage.dbus_init() as bus:
        secretstorage.get_default_collection(bus).lock()
    refused = start(*TOKENRELAY, "refresh")
    assert refused.wait() == 1
    assert "the system keyring cannot be used" in refused.output
    assert provider.requests == 0
    assert host.token_file().read_bytes() == before


@pytest.mark.usefixtures("login", "secret_service")
def test_a_keyring_that_lost_the_key_makes_no_new_one_to_read_with(
    host: Host, start: Start, provider: Provider
) -> None:
    bring_in(host, start)
    with secretstorage.dbus_init() as bus:
        collection = secretstorage.get_default_collection(bus)
        next(collection.search_items(OURS)).delete()
        refused = start(*TOKENRELAY, "refresh")
        assert refused.wait() == 1
        assert "has no key" in refused.output
        assert list(collection.search_items(OURS)) == []
    assert provider.requests == 0


@pytest.mark.usefixtures("login", "session_bus")
def test_a_keyring_that_nobody_can_unlock_is_told_and_nothing_is_stored(
    host: Host, start: Start
) -> None:
    """The bus starts a Secret Service by itself, without a password and without a display."""
    refused = start(*TOKENRELAY, "import", str(host.root / "login.json"), "--account", "main")
    assert refused.wait() == 1
    assert "the system keyring cannot be used" in refused.output
    assert not host.token_file().exists()
