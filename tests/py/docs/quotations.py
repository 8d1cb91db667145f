"""Provokes what the documents quote: each function returns the program's own words.

What differs from one machine to the next is put as the documents put it: process 4242, user 1000,
/tmp/my_program.sock.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from wire_quotations import a_request_on_the_wire, its_refusal_on_the_wire, the_answers_to_a_frame

from support.programs import TOKENRELAY, Start
from tokenrelay import TokenReceiver, TokenRelayError
from tokenrelay.cli import login
from tokenrelay.sender import peers
from tokenrelay.sender.config import load_config
from tokenrelay.sender.tokens import TokenSet

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.command import Run
    from support.host import Host
    from support.provider import StartProvider

CONFIGURATION = """\
[accounts.schwab]
provider = "schwab"
client_id = "key"
client_secret = "secret"
"""
TRADER = """\
import sys
from tokenrelay import TokenReceiver
with TokenReceiver("schwab") as receiver:
    print(receiver.path, flush=True)
    sys.stdin.read()
"""
FORKED = """\
import os
from tokenrelay import ForkedReceiver, TokenReceiver
with TokenReceiver("schwab") as receiver:
    if os.fork() == 0:
        try:
            receiver.token
        except ForkedReceiver as error:
            print(error, flush=True)
        os._exit(0)
    os.wait()
"""
# Root may write everywhere, so it becomes nobody; what is imported by then is all that it needs.
ELSEWHERE = """\
import os
from tokenrelay import TokenReceiver
if os.geteuid() == 0:
    os.chown(os.environ["TOKENRELAY_RUNTIME_DIR"], 65534, 65534)
    os.setuid(65534)
try:
    TokenReceiver(path="/srv/my_program.sock").start()
except OSError as error:
    print(error)
"""
WITHOUT_TYPER = """\
import sys
sys.modules["typer"] = None
from tokenrelay.__main__ import main
main()
"""


@dataclass(frozen=True, slots=True)
class Scene:
    """A fresh user's host, and what a test may start on it."""

    host: Host
    run: Run
    start: Start
    provider: StartProvider
    monkeypatch: pytest.MonkeyPatch

    @property
    def socket(self) -> Path:
        return self.host.root / "my_program.sock"

    def configure(self) -> None:
        self.host.config.touch(mode=0o600)
        self.host.config.write_text(CONFIGURATION)

    def python(self, code: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=self.host.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.stdout + done.stderr

    def trader(self) -> str:
        """Start a program named trader that listens; return its socket's path."""
        script = self.host.root / "trader.py"
        script.write_text(TRADER)
        return self.start(sys.executable, script).wait_for(lambda line: "/" in line.text).text

    def as_written(self, text: str) -> str:
        """Return one line of output with the documents' examples for what differs."""
        places = {
            str(self.socket): "/tmp/my_program.sock",
            str(self.host.config): "/home/me/.config/tokenrelay/tokenrelay.toml",
            str(self.host.state): "/home/me/.local/state/tokenrelay",
            str(self.host.runtime): "/run/user/1000/tokenrelay",
        }
        for place, example in places.items():
            text = text.replace(place, example)
        text = re.sub(r"process \d+ \([^)]*\)", "process 4242 (python)", text)
        text = re.sub(r"process \d+", "process 4242", text)
        text = re.sub(r"trader-\d+-[0-9a-f]{8}", "trader-4242-0a1b2c3d", text)
        text = re.sub(r"/a{100,}", "/a…a", text)
        return text.strip()


def no_sender_runs(scene: Scene) -> str:
    scene.configure()
    return scene.run("status").stdout.splitlines()[0]


def a_second_sender(scene: Scene) -> str:
    scene.configure()
    first = scene.start(*TOKENRELAY, "run")
    first.wait_for(lambda line: " ready " in line.text)
    return scene.run("run", succeed=False).stderr


def a_socket_in_use(scene: Scene) -> str:
    with TokenReceiver(path=scene.socket):
        return _failure(TokenReceiver(path=scene.socket).start)


def no_socket(scene: Scene) -> str:
    scene.socket.touch()
    return _failure(TokenReceiver(path=scene.socket).start)


def too_long_a_path(scene: Scene) -> str:
    return _failure(TokenReceiver(path=f"/tmp/{'a' * 120}.sock").start)


def a_directory_of_others(scene: Scene) -> str:
    scene.host.root.chmod(0o755)
    scene.host.runtime.mkdir(mode=0o700)
    return scene.python(ELSEWHERE)


def an_open_directory(scene: Scene) -> str:
    scene.host.runtime.mkdir()
    scene.host.runtime.chmod(0o755)
    scene.monkeypatch.setenv("TOKENRELAY_RUNTIME_DIR", str(scene.host.runtime))
    return _failure(TokenReceiver("schwab").start)


def a_socket_of_another_user(scene: Scene) -> str:
    # Only root can give a socket away; anybody can be somebody else to it.
    ours = os.geteuid()
    with TokenReceiver(path=scene.socket), scene.monkeypatch.context() as patched:
        patched.setattr(os, "geteuid", lambda: ours + 1)
        text = _failure(lambda: peers.connect(scene.socket))
    text = text.replace(f"not of user {ours + 1}", "not of user 1000")
    return re.sub(rf"(user|add) {ours}\b", r"\1 1001", text)


def no_token_in_time(scene: Scene) -> str:
    with TokenReceiver(path=scene.socket) as receiver:
        return _failure(lambda: receiver.wait(0.01)).replace("0.01 s", "10 s")


def nobody_listens(scene: Scene) -> str:
    return scene.run("send", "test_token_abc123", "--account", "schwab", succeed=False).stderr


def a_receiver_is_fed(scene: Scene) -> str:
    scene.trader()
    return scene.run("send", "test_token_abc123", "--account", "schwab").stdout


def a_senders_token_is_kept(scene: Scene) -> str:
    frame = {"access_token": "a-senders", "expires_at": 4_102_444_800, "serial": 2}
    connection, _, _ = peers.connect(type(scene.host.root)(scene.trader()))
    with connection:
        connection.setblocking(True)
        connection.sendall(json.dumps(frame).encode() + b"\n")
        assert b'"ok":true' in connection.recv(4096)
        sent = scene.run("send", "test_token_abc123", "--account", "schwab", succeed=False)
    return sent.stderr.splitlines()[0]


def a_receiver_that_was_not_started(scene: Scene) -> str:
    return _failure(TokenReceiver(path=scene.socket).wait)


def no_login(scene: Scene) -> str:
    scene.configure()
    return scene.run("show", succeed=False).stderr


def a_login(scene: Scene) -> str:
    scene.configure()
    now = int(time.time())
    token = TokenSet(
        access_token="a",
        refresh_token="r",
        expires_at=now + 1800,
        serial=1,
        grant_expires_at=now + 7 * 86400,
    )
    output = io.StringIO()
    scene.monkeypatch.setenv("TOKENRELAY_RUNTIME_DIR", str(scene.host.runtime))
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(io.StringIO()):
        login._report(load_config(scene.host.config).select(), token)
    text = re.sub(r"(29m 5\d|30m 0)s", "29m 59s", output.getvalue())
    return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d \(.*\)", "2026-12-03 18:04 (6d 23h)", text)


def a_second_request_for_a_refresh(scene: Scene) -> str:
    provider = scene.provider(access_token_seconds=600)
    scene.host.configure(provider)
    scene.host.import_login(provider)
    scene.monkeypatch.setenv("TOKENRELAY_RUNTIME_DIR", str(scene.host.runtime))
    sender = scene.start(*TOKENRELAY, "run")
    with TokenReceiver("main") as receiver:
        first = receiver.wait(30)
        receiver.request_refresh(first)
        receiver.request_refresh(receiver.wait(30, after=first))
        said = sender.wait_for(lambda line: line.fields.get("refused") is not None)
    return re.sub(r"in \d+ s", "in 60 s", str(said.fields["refused"]))


def a_fork(scene: Scene) -> str:
    return scene.python(FORKED)


def a_pickled_token(scene: Scene) -> str:
    import copy

    with TokenReceiver(path=scene.socket) as receiver:
        scene.run("send", "test_token_abc123", "--to", str(scene.socket))
        return _failure(lambda: copy.copy(receiver.token))


def no_extra(scene: Scene) -> str:
    return scene.python(WITHOUT_TYPER)


def no_configuration(scene: Scene) -> str:
    return scene.run("run", succeed=False).stderr


def a_token_file_that_others_may_read(scene: Scene) -> str:
    scene.configure()
    scene.host.state.mkdir(mode=0o700)
    login = {"access_token": "a", "refresh_token": "r", "expires_at": 4_102_444_800}
    scene.host.token_file("schwab").write_text(json.dumps(login))
    scene.host.token_file("schwab").chmod(0o644)
    found = scene.run("doctor", succeed=False).stdout.splitlines()
    first = next(line for line in found if "configuration:" in line)
    start = next(at for at, line in enumerate(found) if "schwab: login:" in line)
    return "\n".join([first, *found[start : start + 2]])


PROVOKED: tuple[Callable[[Scene], str], ...] = (
    no_sender_runs,
    a_second_sender,
    a_socket_in_use,
    no_socket,
    too_long_a_path,
    a_directory_of_others,
    an_open_directory,
    a_socket_of_another_user,
    no_token_in_time,
    nobody_listens,
    a_receiver_is_fed,
    a_senders_token_is_kept,
    a_receiver_that_was_not_started,
    no_login,
    a_login,
    a_second_request_for_a_refresh,
    a_fork,
    a_pickled_token,
    no_extra,
    no_configuration,
    a_token_file_that_others_may_read,
    the_answers_to_a_frame,
    a_request_on_the_wire,
    its_refusal_on_the_wire,
)


def _failure(call: Callable[[], object]) -> str:
    with pytest.raises((TokenRelayError, peers.UntrustedPeer, TypeError)) as raised:
        call()
    return str(raised.value)
