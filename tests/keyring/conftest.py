"""A session of its own with a real Secret Service: dbus-daemon and gnome-keyring-daemon.

They need Debian's dbus-daemon and gnome-keyring, so they are no part of the ordinary suite:
    pytest tests/keyring
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from jeepney import MatchRule, message_bus
from jeepney.io.blocking import open_dbus_connection

sys.path.insert(0, str(Path(__file__).parents[1] / "py"))
sys.path.insert(0, str(Path(__file__).parents[1] / "py" / "sender"))

from sender_support import Provider

from support.fixtures import host, short_path, start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.host import Host

__all__ = ["host", "short_path", "start"]

SECRET_SERVICE = "org.freedesktop.secrets"


@pytest.fixture
def provider() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.close()


@pytest.fixture
def session_bus(host: Host, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a bus of our own; it is in the environment of what the test starts."""
    monkeypatch.setenv("HOME", str(host.root))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(host.root))
    monkeypatch.delenv("DISPLAY", raising=False)  # nobody is there to be asked for a password
    with _running("dbus-daemon", "--session", "--nofork", "--print-address=1") as daemon:
        assert daemon.stdout is not None
        address = daemon.stdout.readline().strip()
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)
        yield address


@pytest.fixture
def secret_service(session_bus: str) -> Iterator[None]:
    """gnome-keyring-daemon with a login keyring that it makes and unlocks."""
    with _running(
        "gnome-keyring-daemon", "--foreground", "--unlock", "--components=secrets"
    ) as one:
        assert one.stdin is not None
        one.stdin.write("the password of the session")
        one.stdin.close()
        _wait_for_owner(session_bus, SECRET_SERVICE)
        yield


@contextmanager
def _running(program: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    path = shutil.which(program)
    assert path is not None, f"missing: apt-get install gnome-keyring dbus-daemon ({program})"
    process = subprocess.Popen(
        [path, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=dict(os.environ),
    )  # fmt: skip
    with process:
        yield process
        process.kill()


def _wait_for_owner(address: str, name: str) -> None:
    """Wait until a program owns ``name`` on the bus: asking sooner would start another one."""
    rule = MatchRule(type="signal", interface="org.freedesktop.DBus", member="NameOwnerChanged")
    rule.add_arg_condition(0, name)
    with open_dbus_connection(bus=address) as connection:
        connection.send_and_get_reply(message_bus.AddMatch(rule))
        with connection.filter(rule) as changes:
            if not connection.send_and_get_reply(message_bus.NameHasOwner(name)).body[0]:
                connection.recv_until_filtered(changes, timeout=20)
