"""What a token costs in system calls, counted by strace in a receiver of its own."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import sysconfig
from collections import Counter
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FRAMES = 50

# Prints its process id, then takes tokens until its input ends.
PROGRAM = """
import os, sys
from tokenrelay import TokenReceiver
with TokenReceiver(path=sys.argv[1]) as receiver:
    if sys.argv[2] == "python":
        receiver.subscribe(lambda token: os.write(1, b"."))
    os.write(1, b"ready")
    sys.stdin.read()
"""


class Traced:
    """A receiver under strace, and a sender that waits until it has gone back to sleep."""

    def __init__(self, directory: Path, callback: str) -> None:
        self.path = str(directory / "receiver.sock")
        self._log = directory / "strace.log"
        command = ["strace", "-f", "-qq", "-o", str(self._log)]
        command += [sys.executable, "-c", PROGRAM, self.path, callback]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self._output = self._process.stdout.fileno()
        assert os.read(self._output, 5) == b"ready"
        self._callback = callback
        self._sender = socket.socket(socket.AF_UNIX)
        self._sender.connect(self.path)

    def send(self, serial: int) -> None:
        self._sender.sendall(
            b'{"access_token":"%s%d","expires_at":4102444800,"serial":%d}\n'
            % (b"k" * 1270, serial, serial)
        )
        assert b'"ok":true' in self._sender.recv(4096)
        if self._callback == "python":
            assert os.read(self._output, 1) == b"."

    def calls(self) -> dict[str, Counter[str]]:
        """End the receiver. Calls by thread, from the first frame's end to the last one's."""
        self._sender.close()
        self._process.communicate(timeout=30)
        lines = self._log.read_text().splitlines()
        answers = [at for at, line in enumerate(lines) if '"{\\"ok\\":true' in line]
        found: dict[str, Counter[str]] = {}
        for line in lines[answers[0] + 1 : answers[-1] + 1]:
            # A call that was interrupted by another thread's line is counted where it began.
            if begun := re.match(r"(\d+) +(\w+)\(", line):
                found.setdefault(begun[1], Counter())[begun[2]] += 1
        return found

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.communicate()


@pytest.fixture
def traced(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Traced]:
    receiver = Traced(tmp_path, request.param)
    yield receiver
    receiver.close()


def total(calls: dict[str, Counter[str]]) -> Counter[str]:
    return sum(calls.values(), Counter())


@pytest.mark.parametrize("traced", ["none"], indirect=True)
def test_a_token_costs_one_read_one_answer_and_its_share_of_a_barrier(traced: Traced) -> None:
    for serial in range(1, FRAMES + 2):
        traced.send(serial)
    # The program's own main thread is on its way into sys.stdin.read().
    receivers = [
        calls for calls in traced.calls().values() if calls["recvfrom"] or calls["epoll_wait"]
    ]
    calls = sum(receivers, Counter())
    assert calls["recvfrom"] == FRAMES
    assert calls["sendto"] == FRAMES
    # The thread that reads sleeps in its read, since the first frame, of which epoll told.
    assert calls["epoll_ctl"] <= 1
    # Of the frames of a burst, one sets the timer; when it rings, what they replaced is wiped, and
    # it is set again where something later waits for it (a look at the socket, without inotify).
    rings = calls["read"]
    assert calls["timerfd_settime"] <= 2 * (rings + 1)
    assert calls["membarrier"] <= rings + FRAMES // 15 + 1
    assert calls["epoll_wait"] <= rings + 3
    # Only where a frame comes as the other thread begins to wait, or wipes.
    assert calls["futex"] <= 4 * (rings + 2)
    allowed = {"recvfrom", "sendto", "membarrier", "timerfd_settime", "read"}
    assert set(calls) <= allowed | {"epoll_wait", "epoll_ctl", "futex"}


@pytest.mark.parametrize("traced", ["python"], indirect=True)
def test_a_python_callback_adds_a_handful(traced: Traced) -> None:
    for serial in range(1, FRAMES + 2):
        traced.send(serial)
    calls = total(traced.calls())
    assert calls["recvfrom"] == FRAMES
    assert calls["sendto"] == FRAMES
    # Without the GIL one more, to let go of the replaced Python object.
    free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    assert calls["membarrier"] <= (2 if free_threaded else 1) * FRAMES
    # The wipe of what was replaced: armed once, until it has rung.
    assert calls["timerfd_settime"] <= FRAMES
    # The program's own signal mask for its callback, and back.
    assert calls["rt_sigprocmask"] <= 2 * (FRAMES + 1)
    assert calls["write"] == FRAMES  # the callback's own
