"""The user unit as a user installs it, in that user's own service manager."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from systemd_support import (
    PYTHON,
    REFUSED,
    fingerprint,
    follow_journal,
    probing_unit,
    shared,
)

from support.documents import blocks_of
from support.host import plain_login

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sender_support import Provider
    from systemd_support import Account

    from support.programs import Program

FIXED = Path("/tmp/bigbrother_token.sock")
PROGRAM = Path("/opt/trader/bin/trade")
CONFIGURATION = """\
[accounts.main]
client_id = "me"
client_secret_file = "$CREDENTIALS_DIRECTORY/client_secret"
token_url = "{url}"
sockets = ["{fixed}"]
on_event = ["sh", "-c", "echo $1 >>{told}", "sh", "{{event}}"]
"""
SECRET = "the-client-secret"


def show(trader: Account, name: str) -> str:
    """One property of the unit."""
    done = trader.run("systemctl", "--user", "show", "--value", f"--property={name}", "tokenrelay")
    return done.stdout.strip()


@pytest.fixture
def configured(trader: Account, provider: Provider) -> Iterator[tuple[str, ...]]:
    """A configuration and a login; the arguments of `service` that go with them."""
    trader.write(
        trader.home / ".config/tokenrelay/tokenrelay.toml",
        CONFIGURATION.format(url=provider.token_url, fixed=FIXED, told=trader.home / "told"),
    )
    secret = trader.write(trader.home / "the secrets/client_secret", SECRET + "\n")
    token = trader.write(trader.home / "login.json", plain_login())
    trader.tokenrelay(
        "import", token, "--account", "main", CREDENTIALS_DIRECTORY=str(secret.parent)
    )
    yield ("--credential", f"client_secret:{secret}")
    trader.tokenrelay("service", "uninstall")
    trader.run("sh", "-c", "rm -rf ~/.config/tokenrelay ~/.local ~/told")


def test_a_user_installs_it_and_programs_are_fed_until_it_is_uninstalled(
    trader: Account,
    provider: Provider,
    configured: tuple[str, ...],
    start_as: Callable[..., Program],
) -> None:
    receive = (PYTHON, shared("receive.py"))
    found = start_as(trader, *receive, "main")
    fixed = start_as(trader, *receive, "--path", FIXED, "main")
    assert found.wait_for_event("ready").fields["path"].startswith(f"/run/user/{trader.uid}/")

    said = trader.tokenrelay("service", "install", *configured).stderr
    assert ".config/systemd/user/tokenrelay.service: written" in said
    assert re.search(r"Exposure by systemd-analyze security: \d\.\d of 10", said)
    for receiver in (found, fixed):
        receiver.wait_for_event("token", fingerprint=fingerprint("access-0"))
    assert (show(trader, "ActiveState"), show(trader, "StatusText")) == (
        "active",
        "1 of 1 accounts ok",
    )
    trader.run("systemctl", "--user", "is-enabled", "tokenrelay")

    told = trader.home / "told"
    trader.run("mkfifo", told)
    trader.run(*_tokenrelay(configured, "refresh"))
    for receiver in (found, fixed):
        receiver.wait_for_event("token", fingerprint=fingerprint("access-1"))
    assert provider.headers[0]["Authorization"].startswith("Basic ")
    assert told.read_text() == "token_refreshed\n"

    again = trader.tokenrelay("service", "install").stderr
    assert "as it was" in again  # with the same credential
    assert "Restarted" in again
    assert show(trader, "ActiveState") == "active"
    assert "removed" in trader.tokenrelay("service", "uninstall").stderr
    assert show(trader, "LoadState") == "not-found"
    assert "nothing to do" in trader.tokenrelay("service", "uninstall").stderr


def _tokenrelay(configured: tuple[str, ...], *arguments: str) -> list[str]:
    """A command with the credential, as docs/service.md says."""
    run = ["systemd-run", "--user", "--quiet", "--pipe", "--wait"]
    return [
        *run,
        "-p",
        f"LoadCredential={configured[1]}",
        str(PYTHON),
        "-m",
        "tokenrelay",
        *arguments,
    ]


def test_a_reload_and_its_refusal_are_in_the_journal_with_fields(
    trader: Account, configured: tuple[str, ...]
) -> None:
    trader.tokenrelay("service", "install", *configured)
    path = trader.home / ".config/tokenrelay/tokenrelay.toml"
    path.write_text(path.read_text() + 'refresh_evry = "20m"\n')
    trader.run("systemctl", "--user", "reload", "tokenrelay")
    refused = follow_journal("TOKENRELAY_EVENT=configuration refused, the old one stays")
    assert f"{path}:7: accounts.main.refresh_evry" in refused["TOKENRELAY_ERROR"]
    assert refused["PRIORITY"] == "3"
    assert refused["_SYSTEMD_USER_UNIT"] == "tokenrelay.service"
    served = follow_journal("TOKENRELAY_ACCOUNT=main", "TOKENRELAY_EVENT=token in service")
    assert served["MESSAGE"].startswith("token in service account=main serial=")


def test_a_program_is_started_by_its_first_token(
    trader: Account, configured: tuple[str, ...]
) -> None:
    units, told = trader.home / ".config/systemd/user", trader.home / "received"
    trader.run("mkfifo", told)
    PROGRAM.parent.mkdir(parents=True)
    receive = f"exec {PYTHON} {shared('receive.py')} --path {FIXED} < <(sleep infinity) >>{told}"
    PROGRAM.write_text(f"#!/bin/bash\n{receive}\n")
    PROGRAM.chmod(0o755)
    for block in blocks_of(__file__).values():
        name = re.match(r"# ~/\.config/systemd/user/(\S+)", block.text)
        assert name is not None
        trader.write(units / name[1], block.text)
    trader.run("systemd-analyze", "--user", "verify", units / "trader.socket")
    trader.run("systemctl", "--user", "daemon-reload")
    trader.run("systemctl", "--user", "start", "trader.socket")
    trader.tokenrelay("service", "install", *configured)
    with told.open() as lines:
        events = [json.loads(lines.readline()) for _ in range(2)]
    received = {one["event"]: one for one in events}
    assert received["token"]["fingerprint"] == fingerprint("access-0")
    trader.run("systemctl", "--user", "stop", "trader.socket", "trader.service")


def test_the_watchdog_starts_a_sender_that_stands_still_anew(
    trader: Account, configured: tuple[str, ...], start_as: Callable[..., Program]
) -> None:
    directory = Path(f"/run/user/{trader.uid}/tokenrelay/main")
    trader.write(
        trader.home / ".config/systemd/user/tokenrelay.service.d/watchdog.conf",
        "[Service]\nWatchdogSec=2s\nRestartSec=100ms\n",
    )
    trader.tokenrelay("service", "install", *configured)
    listener = start_as(trader, PYTHON, shared("listener.py"), directory)
    fed = listener.wait_for_event("frame")
    stopped = int(show(trader, "MainPID"))
    os.kill(stopped, signal.SIGSTOP)
    listener.wait_for_event("frame", after=fed)
    assert int(show(trader, "MainPID")) != stopped
    assert show(trader, "NRestarts") == "1"
    trader.run("sh", "-c", "rm -r ~/.config/systemd/user/tokenrelay.service.d")


def test_each_directive_has_its_effect_and_no_receiver_is_out_of_reach(
    trader: Account, configured: tuple[str, ...]
) -> None:
    places = [f"/run/user/{trader.uid}/bus", "/tmp/.X11-unix", str(trader.home / "login.json")]
    unit = probing_unit(trader.tokenrelay("service", "show").stdout, places, trader.home / "probed")
    trader.write(trader.home / ".config/systemd/user/probe.service", unit)
    trader.run("systemctl", "--user", "daemon-reload")
    trader.run("systemctl", "--user", "start", "probe")
    inside = json.loads((trader.home / "probed").read_text())
    outside = json.loads(trader.run(PYTHON, shared("probe.py")).stdout)
    assert {outside["attempts"][name] for name in REFUSED} == {"allowed"}
    assert {name: inside["attempts"][name] for name in REFUSED} == REFUSED
    assert (inside["NoNewPrivs"], inside["Seccomp"], inside["Umask"]) == ("1", "2", "0077")
    assert inside["core"] == [0, 0]
    assert (inside["uid"], inside["uid_map"]) == (trader.uid, ["0", "0", "4294967295"])
    assert inside["sees"] == places
