"""A keyring that asks a person: what needs its key waits, and nothing else does."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked, PasswordSetError
from sender_support import Provider, account, stored

from support.host import toml_table, write_private
from support.listener import Listener, socket_name
from support.programs import TOKENRELAY
from tokenrelay.sender import control
from tokenrelay.sender.vault import Vault

if TYPE_CHECKING:
    from support.host import Host
    from support.programs import Program, Start

SOURCES = (Path(__file__).parent, Path(__file__).parents[1])
KEY = "a key that a person gives"


class ReadOnly(KeyringBackend):
    priority = 1.0

    def set_password(self, service: str, username: str, password: str) -> None:
        raise PasswordSetError


class Given(ReadOnly):
    """Has the key."""

    def get_password(self, service: str, username: str) -> str:
        return KEY


class Asking(ReadOnly):
    """Tells by one FIFO that it asks, and waits at another for the answer; none: dismissed."""

    def get_password(self, service: str, username: str) -> str:
        home = Path(os.environ["HOME"])
        (home / "asked").write_text(username)
        if answer := (home / "answer").read_text():
            return answer
        raise KeyringLocked("Failed to unlock the collection!")


@pytest.fixture
def sealed(host: Host, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two logins, that of the account ``sealed`` encrypted with what the keyring has."""
    before = keyring.get_keyring()
    keyring.set_keyring(Given())
    now = int(time.time())
    token = stored(issued_at=now, expires_at=now + 1800, granted_at=now)
    for name, encrypt in (("sealed", "keyring"), ("plain", None)):
        Vault.of(account(host.token_file(name), None, name=name, encrypt=encrypt)).store(token)
    keyring.set_keyring(before)
    settings: dict[str, Any] = {"client_id": "the-client", "token_url": provider.token_url}
    write_private(
        host.config,
        toml_table("accounts.plain", settings)
        + toml_table("accounts.sealed", settings | {"encrypt": "keyring"})
        + toml_table("sender", {"log_format": "json"}),
    )
    for name in ("asked", "answer"):
        os.mkfifo(host.root / name)
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", f"{__name__}.{Asking.__name__}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, SOURCES)))


def listen(host: Host, name: str) -> Listener:
    directory = host.runtime / name
    directory.mkdir(mode=0o700, parents=True)
    host.runtime.chmod(0o700)
    return Listener(directory / socket_name())


def ask(host: Host, command: str, **fields: str) -> dict[str, Any]:
    reply = control.call({"command": command, **fields}, timeout=20, directories=(host.runtime,))
    assert reply is not None
    return reply


def run_until_asked(host: Host, start: Start) -> Program:
    sender = start(*TOKENRELAY, "run")
    sender.wait_for_event("ready")
    assert (host.root / "asked").read_text() == "sealed"
    return sender


@pytest.mark.usefixtures("sealed")
def test_while_it_asks_other_accounts_are_served_and_the_answer_is_taken(
    host: Host, start: Start
) -> None:
    with listen(host, "plain") as plain, listen(host, "sealed") as waiting:
        run_until_asked(host, start)
        assert plain.next_frame()["access_token"] == "access-0"
        assert ask(host, "refresh", account="plain")["ok"]
        assert plain.next_frame()["access_token"] == "access-1"
        accounts = {one["name"]: one for one in ask(host, "status")["accounts"]}
        assert accounts["sealed"]["phase"] == "retrying"
        assert "waits for its key" in accounts["sealed"]["last_error"]
        (host.root / "answer").write_text(KEY)
        assert waiting.next_frame()["access_token"] == "access-0"


@pytest.mark.usefixtures("sealed")
def test_the_end_does_not_wait_for_the_answer(host: Host, start: Start) -> None:
    sender = run_until_asked(host, start)
    os.kill(sender.pid, signal.SIGTERM)
    assert sender.wait() == 0
    ending, ended = sender.wait_for_event("ending"), sender.wait_for_event("ended")
    assert ended.seen_ns - ending.seen_ns < 1e9


@pytest.mark.usefixtures("sealed")
def test_dismissed_it_is_told_as_no_end_of_the_login(host: Host, start: Start) -> None:
    sender = run_until_asked(host, start)
    (host.root / "answer").write_text("")
    told = sender.wait_for_event("token file unusable", account="sealed").fields
    assert "unlock it" in told["error"]
    phases = {one["name"]: one["phase"] for one in ask(host, "status")["accounts"]}
    assert phases == {"plain": "ok", "sealed": "retrying"}
