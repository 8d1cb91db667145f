"""A log that cannot be written costs its lines, never a token."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import termios
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from support.host import toml_table, write_private
from support.listener import Listener, socket_name
from support.programs import TOKENRELAY
from tokenrelay.sender import control
from tokenrelay.sender.log_stream import WAITING_LINES, LossyStream, QueuedStream

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sender_support import Provider

    from support.host import Host


def full_disk() -> int:
    return os.open("/dev/full", os.O_WRONLY)


def pipe_without_a_reader() -> int:
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def closed_terminal() -> int:
    terminal, end = pty.openpty()
    os.close(terminal)
    return end


def stopped_terminal() -> int:
    _, end = pty.openpty()  # open as long as this process
    termios.tcflow(end, termios.TCOOFF)  # as Ctrl-S does
    return end


def full_pipe() -> int:
    _, writing = unread_pipe()
    return writing


def unread_pipe() -> tuple[int, int]:
    """Both its ends; there is no room for another byte."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    return reading, writing


@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"])
def test_a_sender_started_without_standard_streams_refreshes_saves_and_ends_well(
    host: Host, provider: Provider, closed: str
) -> None:
    prepare(host, provider)
    with Listener(directory(host) / socket_name()) as listener:
        command = ["sh", "-c", f'exec "$@" {closed}', "sh", *TOKENRELAY, "run"]
        check_service(subprocess.Popen(command, env=host.environment), host, listener)


def test_a_command_started_without_standard_output_does_its_work_in_silence(
    host: Host, provider: Provider
) -> None:
    prepare(host, provider)
    command = ["sh", "-c", 'exec "$@" >&-', "sh", *TOKENRELAY, "doctor"]
    done = subprocess.run(
        command, stderr=subprocess.PIPE, text=True, env=host.environment, timeout=60, check=False
    )
    assert done.returncode in (0, 1), done
    assert done.stderr == ""


def test_a_command_started_without_standard_input_finds_it_empty(host: Host) -> None:
    command = ["sh", "-c", 'exec "$@" <&-', "sh", *TOKENRELAY, "send", "--to", "/tmp/none", "-"]
    done = subprocess.run(
        command, stderr=subprocess.PIPE, text=True, env=host.environment, timeout=60, check=False
    )
    assert done.returncode != 0
    assert "not 1 to 16384 bytes" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "make_log",
    [full_disk, pipe_without_a_reader, closed_terminal, stopped_terminal, full_pipe],
)
def test_a_sender_whose_log_cannot_be_written_refreshes_saves_and_ends_well(
    host: Host, provider: Provider, make_log: Callable[[], int]
) -> None:
    prepare(host, provider)
    log = make_log()
    with Listener(directory(host) / socket_name()) as listener:
        sender = subprocess.Popen(
            [*TOKENRELAY, "run"], stdin=subprocess.DEVNULL, stderr=log, env=host.environment
        )
        os.close(log)
        check_service(sender, host, listener)


def check_service(sender: subprocess.Popen[bytes], host: Host, listener: Listener) -> None:
    """It feeds the listener, refreshes, saves, and ends when told to."""
    with sender:
        try:
            assert listener.next_frame()["access_token"] == "access-0"
            request = {"command": "refresh", "account": "main"}
            reply = control.call(request, timeout=20, directories=(host.runtime,))
            assert reply is not None
            assert reply["ok"], reply
            assert listener.next_frame()["access_token"] == "access-1"
            assert host.stored_token()["refresh_token"] == "refresh-1"
            sender.terminate()
            assert sender.wait(30) == 0
        finally:
            sender.kill()


def test_a_line_for_a_stream_that_was_closed_is_lost_without_an_error() -> None:
    stream = io.StringIO()
    lossy = LossyStream(stream)
    print("kept", file=lossy, flush=True)
    assert stream.getvalue() == "kept\n"
    stream.close()
    print("lost", file=lossy, flush=True)


def test_lines_reach_a_slow_reader_in_their_order_up_to_the_end() -> None:
    reading, writing = os.pipe()
    stream = QueuedStream(writing)
    for number in range(900):
        print(number, "x" * 200, file=stream, flush=True)
    with open(reading, encoding="ascii") as reader:  # noqa: PTH123
        seen = [int(reader.readline().split()[0]) for _ in range(900)]
        print("last", file=stream, flush=True)
        stream.close()
        assert reader.readline() == "last\n"
    assert seen == list(range(900))
    os.close(writing)


def test_of_the_lines_that_nobody_reads_the_first_thousand_are_kept() -> None:
    reading, writing = unread_pipe()
    stream = QueuedStream(writing)
    for number in range(3000):
        print(f"\n{number}", file=stream, flush=True)
    kept = []
    with open(reading, encoding="ascii") as reader:  # noqa: PTH123
        while (line := reader.readline()) != "last\n":
            if line[:-1].isdecimal():
                kept.append(int(line))
            if line == "100\n":  # there is room again
                print("last", file=stream, flush=True)
    stream.close()
    os.close(writing)
    assert kept[:WAITING_LINES] == list(range(WAITING_LINES))
    assert len(kept) <= WAITING_LINES + 1  # one while the thread held another


def test_lines_wait_for_room_in_a_descriptor_that_another_has_made_non_blocking() -> None:
    reading, writing = unread_pipe()
    os.set_blocking(writing, False)
    stream = QueuedStream(writing)
    print("\nwaited", file=stream, flush=True)
    with open(reading, encoding="ascii") as reader:  # noqa: PTH123
        assert reader.readline().endswith("x\n")
        assert reader.readline() == "waited\n"
    stream.close()
    os.close(writing)


def prepare(host: Host, provider: Provider) -> None:
    write_private(
        host.config,
        toml_table("accounts.main", {"client_id": "me", "token_url": provider.token_url}),
    )
    now = int(time.time())
    token = {"access_token": "access-0", "refresh_token": "refresh-0", "issued_at": now,
             "expires_at": now + 1800}  # fmt: skip
    host.state.mkdir(mode=0o700)
    write_private(host.token_file(), json.dumps(token))


def directory(host: Host) -> Path:
    path = host.runtime / "main"
    path.mkdir(mode=0o700, parents=True)
    host.runtime.chmod(0o700)
    return path
