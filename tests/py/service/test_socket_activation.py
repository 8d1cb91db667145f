"""A program that is started by its first token: systemd-socket-activate(1) listens for it."""

from __future__ import annotations

import json
import socket
import struct
from typing import TYPE_CHECKING

from support.programs import RECEIVE

if TYPE_CHECKING:
    from pathlib import Path

    from support.programs import Program, Start

ACTIVATE = ("systemd-socket-activate", "--setenv=TOKENRELAY_RUNTIME_DIR")


def activate(start: Start, path: Path) -> Program:
    program = start(*ACTIVATE, f"--listen={path}", *RECEIVE, "--path", path)
    program.wait_for(lambda line: "Listening on" in line.text)
    return program


def deliver(path: Path, token: str) -> tuple[dict[str, object], int]:
    """The answer, and the process that the kernel names as the listener."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(str(path))
        connection.sendall(token.encode() + b"\n")
        with connection.makefile("rb") as answers:
            answer = json.loads(answers.readline())
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return answer, struct.unpack("iII", credentials)[0]


def test_the_first_token_starts_the_program_and_reaches_it(short_path: Path, start: Start) -> None:
    path = short_path / "token.sock"
    program = activate(start, path)
    answer, _ = deliver(path, "first")
    assert answer == {"ok": True, "generation": 1}
    program.wait_for_event("token", generation=1)
    assert program.wait_for_event("ready").fields["path"] == str(path)


def test_then_senders_see_the_program_and_not_the_manager(short_path: Path, start: Start) -> None:
    path = short_path / "token.sock"
    program = activate(start, path)
    deliver(path, "first")
    answer, listener = deliver(path, "second")
    assert (answer["generation"], listener) == (2, program.pid)


def test_the_socket_stays_when_the_program_ends(short_path: Path, start: Start) -> None:
    path = short_path / "token.sock"
    program = activate(start, path)
    deliver(path, "first")
    program.close_input()
    assert program.wait() == 0
    assert path.is_socket()
