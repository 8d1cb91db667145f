"""sd_notify(3) as systemd would hear it: a datagram socket in its place."""

from __future__ import annotations

import os
import signal
import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import anyio
import anyio.lowlevel
import pytest
from sender_support import account
from structlog.testing import capture_logs

from support.programs import TOKENRELAY
from tokenrelay.sender.account_runner import AccountRunner
from tokenrelay.sender.clock import SystemClock
from tokenrelay.sender.config import Config, SenderSettings
from tokenrelay.sender.logs import get_log
from tokenrelay.sender.meter import NO_METER
from tokenrelay.sender.service import Service
from tokenrelay.sender.service_manager import ServiceManager
from tokenrelay.sender.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.host import Host
    from support.programs import Start

CONFIGURATION = """\
[accounts.main]
client_id = "me"
token_url = "http://127.0.0.1:9/"
[sender]
log_format = "json"
"""


class Manager:
    """Receives what a service tells its manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(30)

    def hear(self) -> dict[str, str]:
        lines = self._socket.recv(65_536).decode().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def hear_of(self, name: str) -> dict[str, str]:
        """The next message that carries ``name``."""
        while name not in (message := self.hear()):
            pass
        return message

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(short_path: Path) -> Iterator[Manager]:
    manager = Manager(short_path / "notify")
    yield manager
    manager.close()


def test_a_service_tells_of_its_start_its_reloads_and_its_end(
    host: Host, start: Start, manager: Manager
) -> None:
    host.config.touch(mode=0o600)
    host.config.write_text(CONFIGURATION)
    environment = {**host.environment, "NOTIFY_SOCKET": str(manager.path)}
    sender = start(*TOKENRELAY, "run", environment={**environment, "WATCHDOG_USEC": "300000"})
    assert "of 1 accounts ok" in manager.hear_of("READY")["STATUS"]
    manager.hear_of("WATCHDOG")
    assert manager.hear_of("WATCHDOG")["STATUS"] == "0 of 1 accounts ok, main: login_needed"
    host.config.write_text(CONFIGURATION.replace("client_id", "client_ld"))
    os.kill(sender.pid, signal.SIGHUP)
    assert int(manager.hear_of("RELOADING")["MONOTONIC_USEC"]) > 0
    assert "client_ld" in manager.hear_of("READY")["STATUS"]
    os.kill(sender.pid, signal.SIGTERM)
    ending = manager.hear_of("STOPPING")
    assert (ending["STOPPING"], ending["STATUS"]) == ("1", "ending")
    assert int(ending["EXTEND_TIMEOUT_USEC"]) >= 1e6
    assert sender.wait() == 0


def test_the_watchdog_is_not_fed_while_a_refresh_loop_stands_still(
    short_path: Path, monkeypatch: pytest.MonkeyPatch, manager: Manager
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(manager.path))
    service = Service(Config({}, SenderSettings(), short_path / "x.toml"))
    one = SimpleNamespace(name="main", phase="ok", stalled=True)
    one = SimpleNamespace(name="main", phase="ok", stalled=True)
    service._accounts = cast("Any", {"main": one})
    with capture_logs() as lines:
        service._give_sign_of_life()
        one.stalled, one.phase = False, "revived"
        service._give_sign_of_life()
    assert [line["event"] for line in lines] == ["refresh loop stalled"]
    assert manager.hear() == {"WATCHDOG": "1", "STATUS": "0 of 1 accounts ok, main: revived"}


def test_a_refresh_loop_without_a_sign_of_life_is_stalled(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = AccountRunner(
        account(short_path / "token.json", "http://127.0.0.1:9/"),
        runtimes=(short_path / "run",),
        watch=None,
        meter=NO_METER,
        clock=SystemClock(),
        log=get_log(),
        turns=Turns(),
    )

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(runner.run, lambda: None)
            await anyio.wait_all_tasks_blocked()
            assert not runner.stalled
            monkeypatch.setattr(AccountRunner, "_patience", -1.0)
            assert runner.stalled
            group.cancel_scope.cancel()

    with capture_logs():
        assert not runner.stalled
        anyio.run(main)


def test_an_abstract_address_and_one_that_is_gone_are_no_reason_to_fail(short_path: Path) -> None:
    name = f"tokenrelay-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0{name}")
        ServiceManager({"NOTIFY_SOCKET": f"@{name}"}).ready("two\nlines")
        assert listener.recv(100) == b"READY=1\nSTATUS=two lines"
    ServiceManager({"NOTIFY_SOCKET": str(short_path / "gone")}).ready("")
    ServiceManager({}).ready("")


@pytest.mark.parametrize(
    ("variables", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "90000000"}, 90.0),
        ({"WATCHDOG_USEC": "90000000", "WATCHDOG_PID": str(os.getpid())}, 90.0),
        ({"WATCHDOG_USEC": "90000000", "WATCHDOG_PID": "1"}, None),
    ],
)
def test_the_watchdog_is_ours_only_if_it_names_us(
    variables: dict[str, str], seconds: float | None
) -> None:
    assert ServiceManager(variables).watchdog == seconds
