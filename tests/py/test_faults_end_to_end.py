"""Crashes, squatters and strangers: what the whole path survives, and what it says."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.programs import RECEIVE, TOKENRELAY, Line, Program, Start, wait_for_tokens
from support.waiting import wait_until
from tokenrelay import TokenReceiver
from tokenrelay.errors import ReceiverError

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.host import Host
    from support.provider import Provider, StartProvider

NOBODY = 65534
LONGEST_SOCKET_PATH = 107


@pytest.fixture
def provider(host: Host, oauth_toolkit: StartProvider) -> Provider:
    """A provider whose login the host has; nothing is refreshed until a test asks for it."""
    provider = oauth_toolkit(access_token_seconds=600)
    host.configure(provider)
    host.import_login(provider)
    return provider


def start_sender(start: Start) -> tuple[Program, Line]:
    sender = start(*TOKENRELAY, "run")
    return sender, sender.wait_for_event("ready")


def start_receiver(start: Start) -> tuple[Program, Line]:
    receiver = start(*RECEIVE)
    return receiver, receiver.wait_for_event("ready")


def refresh_reaches(host: Host, receiver: Program, provider: Provider) -> None:
    """The refresh token on disk still works, and what it gives arrives."""
    refreshes = provider.report()["refreshes"]
    host.run("refresh", "main")
    serial = host.stored_token()["serial"]
    receiver.wait_for_event("token", serial=serial)
    report = provider.report()
    assert report["refreshes"] == refreshes + 1
    assert report["refreshes_refused"] == 0
    assert not report["reuse_flagged"]


@pytest.mark.parametrize("killed", ["sender", "receiver", "both"])
def test_after_a_crash_the_receiver_has_the_current_token(
    host: Host,
    provider: Provider,
    start: Start,
    measured: Callable[[str], None],
    killed: str,
) -> None:
    sender, _ = start_sender(start)
    receiver, _ = start_receiver(start)
    wait_for_tokens(receiver, 1)
    if killed != "receiver":
        sender.kill()
        host.run("refresh", "main")  # so that there is something the receiver has not heard of
    current = host.stored_token()
    if killed != "sender":
        receiver.kill()
        receiver, ready = start_receiver(start)
    if killed != "receiver":
        sender, ready = start_sender(start)

    token = receiver.wait_for_event("token", serial=current["serial"]).fields
    lag_ms = (token["received_at_ns"] - ready.seen_ns) / 1e6
    measured(f"current token {lag_ms:+.1f} ms after the last 'ready'")
    assert host.stored_token()["serial"] == current["serial"], "served without another refresh"
    refresh_reaches(host, receiver, provider)


def test_a_sender_killed_before_the_answer_reached_it_loses_no_login(
    host: Host, oauth_toolkit: StartProvider, start: Start
) -> None:
    """The spent refresh token is sent again within the provider's grace; nothing is flagged."""
    provider = oauth_toolkit(access_token_seconds=600, grace_seconds=30)
    host.configure(provider, rotation_grace="30s")
    host.import_login(provider)
    sender, _ = start_sender(start)
    provider.hold_answers()
    start(*TOKENRELAY, "refresh", "main")
    provider.program.wait_for_event("held")
    sender.kill()
    provider.release_answers()

    start_sender(start)
    receiver = start(*RECEIVE, "--resource", provider.resource_url)
    host.run("refresh", "main")
    receiver.wait_for_event("token", serial=host.stored_token()["serial"], status=200)
    report = provider.report()
    assert report["refreshes_refused"] == 0
    assert not report["reuse_flagged"]


def test_fifty_receivers_of_one_account_have_the_new_token(
    host: Host, provider: Provider, start: Start, measured: Callable[[str], None]
) -> None:
    programs = [start(*RECEIVE, "--count", "10") for _ in range(5)]
    for program in programs:
        program.wait_for_event("ready", receiver=9)
    start_sender(start)
    for program in programs:
        wait_for_tokens(program, 10)
    host.run("refresh", "main")
    serial = host.stored_token()["serial"]
    arrivals = [
        program.wait_for_event("token", serial=serial, receiver=index).fields["received_at_ns"]
        for program in programs
        for index in range(10)
    ]
    answered = provider.report()["last_refresh_ns"]
    first, last = ((moment - answered) / 1e6 for moment in (min(arrivals), max(arrivals)))
    measured(f"50 receivers, {first:.1f} to {last:.1f} ms after the provider's answer")
    assert len(arrivals) == 50
    assert 0 < first <= last < 5000


def test_a_socket_left_by_a_killed_receiver_is_taken_over(start: Start, short_path: Path) -> None:
    path = short_path / "token.sock"
    killed = start(*RECEIVE, "--path", path)
    killed.wait_for_event("ready")
    killed.kill()
    assert path.exists()
    with TokenReceiver(path=str(path)) as receiver:
        send_bare(path, "after-the-crash")
        assert receiver.wait(timeout=5).access_token == "after-the-crash"


def test_a_socket_file_that_no_receiver_made_is_taken_over(short_path: Path) -> None:
    path = short_path / "token.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    with TokenReceiver(path=str(path)) as receiver:
        send_bare(path, "token")
        assert receiver.wait(timeout=5).generation == 1


def test_a_second_receiver_on_a_live_path_is_told_who_holds_it(
    start: Start, short_path: Path
) -> None:
    path = short_path / "token.sock"
    owner = start(*RECEIVE, "--path", path)
    owner.wait_for_event("ready")
    with pytest.raises(ReceiverError, match=str(owner.pid)):
        TokenReceiver(path=str(path)).start()
    send_bare(path, "still-the-first-one's")
    owner.wait_for_event("token", generation=1)


def test_a_path_too_long_for_a_socket_is_refused_before_anything_is_made(short_path: Path) -> None:
    def path_of(length: int) -> Path:
        return short_path / ("x" * (length - len(str(short_path)) - 1))

    with TokenReceiver(path=str(path_of(LONGEST_SOCKET_PATH))) as receiver:
        assert Path(receiver.path).is_socket()
    with pytest.raises((ReceiverError, ValueError), match=str(LONGEST_SOCKET_PATH)):
        TokenReceiver(path=str(path_of(LONGEST_SOCKET_PATH + 1))).start()


def test_a_deleted_socket_is_bound_again_and_works(short_path: Path) -> None:
    path = short_path / "token.sock"
    with TokenReceiver(path=str(path)) as receiver:
        path.unlink()
        wait_until(path.is_socket, short_path)
        send_bare(path, "after-the-deletion")
        assert receiver.wait(timeout=5).access_token == "after-the-deletion"


def test_a_receiver_whose_discovered_socket_was_deleted_is_fed_again(
    host: Host, provider: Provider, start: Start
) -> None:
    receiver, ready = start_receiver(start)
    start_sender(start)
    wait_for_tokens(receiver, 1)
    path = Path(ready.fields["path"])
    path.unlink()
    wait_until(lambda: any(path.parent.glob("*.sock")), path.parent)
    refresh_reaches(host, receiver, provider)


@pytest.mark.needs_root
def test_a_sender_of_another_user_is_cut_off_before_it_is_read(short_path: Path) -> None:
    """Its token is neither taken nor answered, though the socket's mode lets it connect."""
    short_path.chmod(0o755)
    path = short_path / "token.sock"
    with TokenReceiver(path=str(path), mode=0o666) as receiver:
        assert send_as(NOBODY, path, "stranger's") == ""
        assert receiver.token is None
        send_bare(path, "owner's")
        assert receiver.wait(timeout=5).access_token == "owner's"


@pytest.mark.needs_root
def test_root_is_no_exception(start: Start, short_path: Path) -> None:
    directory = short_path / "nobody"
    directory.mkdir(mode=0o700)
    short_path.chmod(0o755)
    os.chown(directory, NOBODY, NOBODY)
    path = directory / "token.sock"
    receiver = start(
        *RECEIVE,
        *("--path", path, "--uid", str(NOBODY)),
        environment={**os.environ, "TOKENRELAY_RUNTIME_DIR": str(directory / "run")},
    )
    receiver.wait_for_event("ready")
    assert send_as(0, path, "root's") == ""
    assert send_as(NOBODY, path, "owner's").startswith('{"ok":true')
    receiver.wait_for_event("token", generation=1)


def send_bare(path: Path, token: str) -> None:
    """Send a bare token and wait for the answer, which is positive."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(path))
        connection.sendall(token.encode() + b"\n")
        assert connection.makefile().readline().startswith('{"ok":true')


def send_as(uid: int, path: Path, token: str) -> str:
    """Send a bare token as another user; return what the receiver answered."""
    words = ["setpriv", f"--reuid={uid}", "--clear-groups", "socat", "-", f"UNIX-CONNECT:{path}"]
    done = subprocess.run(
        words, input=token + "\n", capture_output=True, text=True, timeout=10, check=False
    )
    return done.stdout
