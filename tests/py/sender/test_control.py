from __future__ import annotations

import os
import re
import socket
import stat
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import structlog
from anyio.from_thread import start_blocking_portal

from tokenrelay.sender import control, peers
from tokenrelay.sender.errors import LoginNeeded, SenderError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

HOLD = """
import sys
from pathlib import Path
import structlog
from tokenrelay.sender.control import ControlServer
with ControlServer(Path(sys.argv[1]), {}, log=structlog.get_logger()):
    print("held", flush=True)
    sys.stdin.read()
"""


async def echo(request: Mapping[str, Any]) -> control.Reply:
    return {"heard": dict(request)}


async def need_login(_request: Mapping[str, Any]) -> control.Reply:
    raise LoginNeeded.of("main", "the refresh token was revoked")


async def never(_request: Mapping[str, Any]) -> control.Reply:
    await anyio.sleep_forever()
    return {}


async def fail(_request: Mapping[str, Any]) -> control.Reply:
    raise RuntimeError("nobody thought of this")


HANDLERS = {"echo": echo, "fail": fail, "login": need_login, "never": never}


@contextmanager
def serving(runtime: Path) -> Iterator[Path]:
    with (
        start_blocking_portal() as portal,
        control.ControlServer(runtime, HANDLERS, log=structlog.get_logger()) as server,
    ):
        task = portal.start_task_soon(server.run)
        yield server.path
        task.cancel()


def ask(runtime: Path, command: str, **fields: Any) -> control.Reply | None:
    return control.call({"command": command, **fields}, timeout=10, directories=(runtime,))


def send_raw(path: Path, data: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(path))
        connection.sendall(data)
        with connection.makefile("rb") as stream:
            return stream.read()


def test_a_request_is_answered_by_its_handler(short_path: Path) -> None:
    with serving(short_path):
        reply = ask(short_path, "echo", account="main")
    assert reply == {"ok": True, "heard": {"command": "echo", "account": "main"}}
    assert control.checked(reply) == {"heard": {"command": "echo", "account": "main"}}


def test_a_refusal_carries_code_message_and_exit_code(short_path: Path) -> None:
    with serving(short_path):
        reply = ask(short_path, "login")
    assert reply is not None
    assert reply["error"] == "login_needed"
    with pytest.raises(control.RequestRefused, match="tokenrelay login main") as refusal:
        control.checked(reply)
    assert (refusal.value.code, refusal.value.exit_code) == ("login_needed", 4)


@pytest.mark.parametrize(
    "data",
    [b"nonsense\n", b"[]\n", b"{}\n", b'{"command": []}\n', b"\xff\n", b"[" * 60_000 + b"\n"],
)
def test_a_bad_request_is_refused_with_the_known_commands(short_path: Path, data: bytes) -> None:
    with serving(short_path) as path:
        reply = send_raw(path, data)
    assert b'"error": "usage"' in reply
    assert b"echo, fail, login, never" in reply


def test_a_fault_in_a_handler_is_answered_and_ends_nothing(
    short_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(short_path):
        reply = ask(short_path, "fail")
        assert ask(short_path, "echo")
    assert reply is not None
    assert (reply["error"], reply["exit_code"]) == ("failed", 1)
    assert "see its log" in reply["message"]
    assert "nobody thought of this" in capsys.readouterr().out


def test_a_request_without_end_is_cut_off(short_path: Path) -> None:
    with serving(short_path) as path:
        with pytest.raises(BrokenPipeError):
            send_raw(path, b"x" * 10_000_000)
        assert ask(short_path, "echo")


def test_a_silent_client_is_dropped_and_delays_nobody(short_path: Path) -> None:
    with serving(short_path) as path, socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(path))
        silent.settimeout(10)
        assert ask(short_path, "echo")
        assert silent.recv(1) == b""


def test_where_no_sender_runs_there_is_no_answer(short_path: Path) -> None:
    assert ask(short_path, "echo") is None
    with socket.socket(socket.AF_UNIX) as abandoned:
        abandoned.bind(str(short_path / control.SOCKET_NAME))
    assert ask(short_path, "echo") is None


def test_a_sender_that_does_not_answer_is_an_error(short_path: Path) -> None:
    with serving(short_path), pytest.raises(SenderError, match=r"did not answer within 0\.1 s"):
        control.call({"command": "never"}, timeout=0.1, directories=(short_path,))


def test_the_socket_is_private_and_goes_with_the_sender(short_path: Path) -> None:
    runtime = short_path / "new" / "run"
    with serving(runtime) as path:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(runtime.stat().st_mode) == 0o700
    assert not path.exists()
    assert path.with_name(control.LOCK_NAME).exists(), "the lock file is never unlinked"


def test_a_second_sender_is_told_who_runs(short_path: Path) -> None:
    with (
        serving(short_path),
        pytest.raises(control.SenderRuns, match=f"process {os.getpid()}") as error,
        serving(short_path),
    ):
        pass
    assert error.value.exit_code == 1


def test_the_socket_of_a_killed_sender_is_taken_over(short_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, short_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(control.SenderRuns, match=f"process {holder.pid}"), serving(short_path):
            pass
        holder.kill()
        holder.wait()
    assert (short_path / control.SOCKET_NAME).exists()
    with serving(short_path):
        assert ask(short_path, "echo")


def test_a_directory_open_to_others_is_refused(short_path: Path) -> None:
    short_path.chmod(0o755)
    with (
        pytest.raises(SenderError, match=re.escape(f"chmod 700 {short_path}")),
        serving(short_path),
    ):
        pass


@pytest.mark.needs_root
def test_another_users_process_is_neither_answered_nor_asked(short_path: Path) -> None:
    script = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
        's.sendall(b\'{"command": "echo"}\\n\'); sys.exit(len(s.recv(100)))'
    )
    with serving(short_path) as path:
        short_path.chmod(0o755)
        path.chmod(0o666)
        foreign = ["setpriv", "--reuid=65534", "--clear-groups", sys.executable, "-c", script, path]
        ended = subprocess.run(foreign, check=False, capture_output=True, timeout=30)
        refused = b"ConnectionResetError" in ended.stderr or b"BrokenPipeError" in ended.stderr
        assert ended.returncode == 0 or refused, ended.stderr
        os.chown(path, 65534, -1)
        with pytest.raises(peers.UntrustedPeer):
            ask(short_path, "echo")
