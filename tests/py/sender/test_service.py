from __future__ import annotations

import errno
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from support.listener import Listener, accept, line, socket_name
from support.programs import TOKENRELAY
from tokenrelay import TokenReceiver, TokenTimeout
from tokenrelay.sender import control
from tokenrelay.sender.tokens import fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.host import Host
    from support.programs import Program, Start


class Provider(ThreadingHTTPServer):
    """A token endpoint on loopback whose refresh tokens rotate; it can hold its answers."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.count = 0
        self.lifetime = 1800
        self.status = 200
        self.asked: queue.Queue[str] = queue.Queue()
        self.may_answer = threading.Event()
        self.may_answer.set()

    @property
    def token_url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/token"


class Answer(BaseHTTPRequestHandler):
    server: Provider

    def do_POST(self) -> None:
        form = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.asked.put(form)
        self.server.may_answer.wait(30)
        self.server.count += 1
        body = {"error": "server_error"}
        if self.server.status == 200:
            body = {
                "access_token": f"access-{self.server.count}",
                "refresh_token": f"refresh-{self.server.count}",
                "expires_in": self.server.lifetime,
                "token_type": "Bearer",
            }
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.may_answer.set()
        server.shutdown()


def configure(host: Host, provider: Provider, *accounts: str) -> None:
    tables = [
        f'[accounts.{name}]\nprovider = "generic"\nclient_id = "me"\nclient_auth = "none"\n'
        f'token_url = "{provider.token_url}"\nrotation_grace = "0s"\n'
        for name in accounts or ("main",)
    ]
    host.config.write_text("\n".join([*tables, '[sender]\nlog_format = "json"\n']))
    host.config.chmod(0o600)


def store(host: Host, account: str = "main", *, expires_in: int = 1800) -> None:
    now = int(time.time())
    path = host.token_file(account)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.touch(mode=0o600)
    token = {"access_token": "access-0", "refresh_token": "refresh-0", "serial": now * 1000}
    path.write_text(json.dumps({**token, "issued_at": now, "expires_at": now + expires_in}))


def directory(host: Host, account: str = "main") -> Path:
    path = host.runtime / account
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    host.runtime.chmod(0o700)
    return path


def ask(host: Host, command: str, **fields: str) -> dict[str, Any]:
    reply = control.call({"command": command, **fields}, timeout=20, directories=(host.runtime,))
    assert reply is not None
    return reply


def status_once_delivered(host: Host, serial: int) -> dict[str, Any]:
    """The status once the sender has read its one receiver's answer, which takes it no time."""
    for _ in range(1000):
        status = ask(host, "status")
        if [receiver["serial"] for receiver in status["accounts"][0]["receivers"]] == [serial]:
            return status
    raise AssertionError(status)


def run(start: Start) -> Program:
    sender = start(*TOKENRELAY, "run")
    sender.wait_for_event("ready")
    return sender


def test_a_sender_feeds_receivers_and_answers_commands(
    host: Host, provider: Provider, start: Start
) -> None:
    configure(host, provider)
    store(host)
    with Listener(directory(host) / socket_name("trader")) as listener:
        sender = run(start)
        assert listener.next_frame()["access_token"] == "access-0"
        reply = ask(host, "refresh", account="main")
        frame = listener.next_frame()
        assert frame["access_token"] == "access-1"
        assert (reply["ok"], reply["account"], reply["serial"]) == (True, "main", frame["serial"])
        assert reply["fingerprint"] == fingerprint("access-1")
        token = ask(host, "token", account="main")
        assert token["access_token"] == "access-1"
        status = status_once_delivered(host, frame["serial"])
    assert status.keys() == {
        "ok", "pid", "started_at", "version", "config", "configured_at", "config_error",
        "accounts",
    }  # fmt: skip
    assert (status["ok"], status["pid"]) == (True, sender.pid)
    (account,) = status["accounts"]
    assert account["token"].keys() == {"fingerprint", "expires_at", "serial", "issued_at"}
    assert (account["name"], account["phase"], account["refreshes"]) == ("main", "ok", 1)
    (receiver,) = account["receivers"]
    assert receiver["program"] == "trader"
    assert "refresh-1" not in json.dumps(status)
    assert "refresh-1" not in sender.output
    assert "access-1" not in sender.output


def test_a_request_for_an_unknown_account_names_the_known(
    host: Host, provider: Provider, start: Start
) -> None:
    configure(host, provider)
    store(host)
    run(start)
    reply = ask(host, "token", account="other")
    assert (reply["ok"], reply["error"], reply["exit_code"]) == (False, "configuration", 3)
    assert "it has: main" in reply["message"]


def test_a_request_for_a_token_that_cannot_be_refreshed_says_why(
    host: Host, provider: Provider, start: Start
) -> None:
    configure(host, provider)
    store(host, expires_in=-60)
    provider.status = 503
    run(start).wait_for_event("refresh failed")
    reply = ask(host, "token", account="main")
    assert (reply["error"], reply["exit_code"]) == ("refresh_failed", 1)
    assert reply["message"].startswith("there is no valid token: main: ")
    assert "503" in reply["message"]


def test_a_second_sender_ends_with_the_pid_of_the_first(
    host: Host, provider: Provider, start: Start
) -> None:
    configure(host, provider)
    store(host)
    first = run(start)
    second = start(*TOKENRELAY, "run")
    assert second.wait() == 1
    assert f"process {first.pid}" in second.output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_sender_within_a_second(
    host: Host, provider: Provider, start: Start, number: signal.Signals
) -> None:
    configure(host, provider)
    store(host)
    with Listener(directory(host) / socket_name()) as listener:
        sender = run(start)
        listener.next_frame()
        os.kill(sender.pid, number)
        assert sender.wait() == 0
        ending, ended = sender.wait_for_event("ending"), sender.wait_for_event("ended")
        assert ended.seen_ns - ending.seen_ns < 1e9
    assert not (host.runtime / control.SOCKET_NAME).exists()


def test_a_refresh_in_flight_is_finished_before_the_end(
    host: Host, provider: Provider, start: Start
) -> None:
    configure(host, provider)
    store(host, expires_in=-1)
    provider.may_answer.clear()
    sender = start(*TOKENRELAY, "run")
    assert "refresh-0" in provider.asked.get(timeout=20)
    sender.wait_for_event("ready")
    os.kill(sender.pid, signal.SIGTERM)
    sender.wait_for_event("ending")
    provider.may_answer.set()
    assert sender.wait() == 0
    assert host.stored_token()["refresh_token"] == "refresh-1"


def test_one_accounts_failure_leaves_the_others_alone(
    host: Host, provider: Provider, start: Start
) -> None:
    configure(host, provider, "broken", "loggedout", "main")
    store(host)
    store(host, "broken")
    host.token_file("broken").write_text('{"access_token": "cut o')
    with Listener(directory(host) / socket_name()) as listener:
        sender = run(start)
        assert listener.next_frame()["access_token"] == "access-0"
        accounts = {one["name"]: one for one in ask(host, "status")["accounts"]}
    assert accounts["main"]["phase"] == "ok"
    assert "truncated" in accounts["broken"]["last_error"]
    assert "tokenrelay login loggedout" in accounts["loggedout"]["last_error"]
    assert "truncated" in sender.output
    assert host.token_file("broken").read_text() == '{"access_token": "cut o'


def test_a_killed_sender_is_followed_by_another(
    host: Host, provider: Provider, start: Start
) -> None:
    configure(host, provider)
    store(host)
    with Listener(directory(host) / socket_name()) as listener:
        sender = run(start)
        listener.next_frame()
        sender.kill()
        run(start)
        assert listener.next_frame()["access_token"] == "access-0"
        assert ask(host, "status")["ok"]


def test_an_outage_longer_than_the_token_is_told_and_ends_without_a_restart(
    host: Host, provider: Provider, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENRELAY_RUNTIME_DIR", str(host.runtime))
    configure(host, provider)
    store(host, expires_in=3)
    provider.status = 503
    with TokenReceiver("main") as receiver:
        run(start)
        first = receiver.wait(10)
        while time.time() < first.expires_at:  # each request of the sender is another look
            provider.asked.get(timeout=20)
        assert receiver.token is not None
        assert receiver.token.expired
        with pytest.raises(TokenTimeout):
            receiver.wait(0.1)
        shown = start(*TOKENRELAY, "status")
        assert shown.wait() == 0
        assert "expired" in shown.output
        provider.status = 200
        assert receiver.wait(20, after=first).access_token == f"access-{provider.count}"


def test_a_kernel_without_a_timer_for_clock_steps_is_told_and_does_no_harm(
    host: Host, provider: Provider, start: Start
) -> None:
    configure(host, provider)
    store(host)
    call = "timerfd_create"
    injected = ("-e", f"trace={call}", "-e", f"inject={call}:error=ENOSYS")
    with Listener(directory(host) / socket_name()) as listener:
        program = start("strace", "-f", "-qq", "-o", "/dev/null", *injected, *TOKENRELAY, "run")
        sender = program.wait_for_event("ready").fields["pid"]
        told = program.wait_for_event("clock steps are noticed late").fields
        assert told["error"] == f"[Errno {errno.ENOSYS}] {os.strerror(errno.ENOSYS)}"
        assert listener.next_frame()["access_token"] == "access-0"
    os.kill(sender, signal.SIGTERM)
    assert program.wait() == 0


def test_once_refreshes_delivers_and_ends(host: Host, provider: Provider, start: Start) -> None:
    configure(host, provider)
    store(host)
    with Listener(directory(host) / socket_name()) as listener:
        assert start(*TOKENRELAY, "run", "--once").wait() == 0
        frames = [listener.next_frame()["access_token"]]
        if frames[-1] == "access-0":
            frames.append(listener.next_frame()["access_token"])
    assert frames[-1] == "access-1"
    assert host.stored_token()["refresh_token"] == "refresh-1"


def test_once_counts_nobody_who_took_the_old_token_alone(
    host: Host, provider: Provider, start: Start
) -> None:
    configure(host, provider)
    store(host)
    provider.may_answer.clear()

    def take_the_old(frame: dict[str, Any]) -> bytes:
        if frame["access_token"] == "access-0":
            return accept(frame)
        return line(ok=False, error="malformed", detail="not this one")

    with Listener(directory(host) / socket_name(), take_the_old) as listener:
        once = start(*TOKENRELAY, "run", "--once")
        once.wait_for_event("delivered")
        provider.may_answer.set()
        assert once.wait() == 5
        assert [listener.next_frame()["access_token"] for _ in range(2)] == ["access-0", "access-1"]
    assert "not this one" in once.output


def test_once_with_nobody_there_says_so(host: Host, provider: Provider, start: Start) -> None:
    configure(host, provider)
    store(host)
    once = start(*TOKENRELAY, "run", "--once")
    assert once.wait() == 5
    assert "tokenrelay listen main" in once.output
    assert host.stored_token()["access_token"] == "access-1"


def test_once_without_a_login_asks_for_one(host: Host, provider: Provider, start: Start) -> None:
    configure(host, provider)
    once = start(*TOKENRELAY, "run", "--once")
    assert once.wait() == 4
    assert "tokenrelay login main" in once.output


def test_once_with_a_failing_provider_still_delivers_the_valid_token(
    host: Host, provider: Provider, start: Start
) -> None:
    configure(host, provider)
    store(host)
    provider.status = 503
    with Listener(directory(host) / socket_name()) as listener:
        assert start(*TOKENRELAY, "run", "--once").wait() == 1
        assert listener.next_frame()["access_token"] == "access-0"


def test_no_core_file_can_hold_a_secret() -> None:
    script = (
        "import ctypes, resource; from tokenrelay.sender.process import forbid_core_dumps;"
        "forbid_core_dumps();"
        "print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), *resource.getrlimit(resource.RLIMIT_CORE))"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert ended.stdout == b"0 0 0\n"
