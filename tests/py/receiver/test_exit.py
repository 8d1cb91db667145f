"""The end of the interpreter: whatever the receiver is doing, the program's own exit code, soon."""

from __future__ import annotations

import time

import pytest
from receiver_support import run_python

BOUND = 10.0  # s, of which a blocked callback gets one; the rest is for a loaded machine

PROLOGUE = """
import atexit, os, sys, threading, time
from receiver_support import deliver
from tokenrelay import TokenReceiver
class Late:
    # Threads get the chance to meet a finished interpreter.
    __del__ = lambda self, sleep=time.sleep: sleep(0.1)
late = Late()
receiver = TokenReceiver("main").start()
entered = threading.Event()
def subscribe(callback):
    def entering(token):
        entered.set()
        callback(token)
    receiver.subscribe(entering)
    deliver(receiver, "abc")
    entered.wait()
"""

# What the program does at its end, and its exit code.
ENDS = {
    "idle": ("pass", 0),
    "with_an_exit_code": ("sys.exit(7)", 7),
    "never_started": ("receiver.stop(); TokenReceiver('other'); sys.exit(7)", 7),
    "in_a_callback_that_returns_at_once": (
        """
leaving = threading.Event(); atexit.register(leaving.set)  # before the receivers are stopped
subscribe(lambda _: leaving.wait()); sys.exit(7)
""",
        7,
    ),
    "in_a_busy_callback": ("subscribe(lambda _: [None for _ in iter(int, 1)]); sys.exit(7)", 7),
    "in_a_callback_that_never_returns": (
        "subscribe(lambda _: threading.Event().wait()); sys.exit(7)",
        7,
    ),
    "in_a_callback_that_returns_once_it_is_no_longer_waited_for": (
        """
import tokenrelay.receiver as module
end, ending = os.pipe()
atexit.unregister(module._stop_all)
atexit.register(os.write, ending, b"x"); atexit.register(module._stop_all)
subscribe(lambda _: os.read(end, 1)); sys.exit(7)
""",
        7,
    ),
    "with_an_unhandled_exception": ("subscribe(lambda _: None); raise ValueError", 1),
    "after_sys_exit_in_a_callback": ("subscribe(sys.exit); receiver.stop(); sys.exit(7)", 7),
    "by_os_exit": ("subscribe(lambda _: threading.Event().wait()); os._exit(7)", 7),
    "by_os_exit_in_a_callback": ("subscribe(lambda _: os._exit(7)); threading.Event().wait()", 7),
    "while_daemon_threads_wait": (
        """
# Tracebacks printed while modules are cleared can lock a free-threaded CPython 3.13 up.
threading.excepthook = lambda _: None
for _ in range(8): threading.Thread(target=receiver.wait, daemon=True).start()
sys.exit(7)
""",
        7,
    ),
    "while_daemon_threads_read_and_subscribe": (
        """
def work():
    while True: receiver.token; receiver.subscribe(print).cancel(); receiver.stats
for _ in range(3): threading.Thread(target=work, daemon=True).start()
sys.exit(7)
""",
        7,
    ),
    "while_a_daemon_thread_starts_and_stops": (
        """
def work():
    while True: receiver.start(); receiver.stop()
threading.Thread(target=work, daemon=True).start()
sys.exit(7)
""",
        7,
    ),
    "with_an_atexit_handler_that_runs_after_ours": (
        """
import atexit, tokenrelay.receiver as module
atexit.unregister(module._stop_all); atexit.register(receiver.stop)
atexit.register(lambda: (receiver.start(), receiver.subscribe(lambda _: None)))
atexit.register(module._stop_all)
sys.exit(7)
""",
        7,
    ),
    "with_many_receivers_in_callbacks_that_never_return": (
        """
others = [TokenReceiver('main').start() for _ in range(5)]
for other in others:
    other.subscribe(lambda _: threading.Event().wait()); deliver(other, 'x')
subscribe(lambda _: threading.Event().wait()); sys.exit(7)
""",
        7,
    ),
    "with_tokens_streaming_in": (
        """
def send():
    for number in range(10**9): deliver(path, f't{number}')
path = receiver.path
threading.Thread(target=send, daemon=True).start()
subscribe(lambda _: None); sys.exit(7)
""",
        7,
    ),
    "while_asyncio_reads_in_a_daemon_thread": (
        """
import asyncio
async def read():
    async for _ in receiver.updates(): ready.set()
ready = threading.Event()
threading.Thread(target=lambda: asyncio.run(read()), daemon=True).start()
deliver(receiver, 'abc'); ready.wait(); sys.exit(7)
""",
        7,
    ),
}


@pytest.mark.parametrize("end", ENDS)
def test_the_exit_code_is_the_programs_own(end: str) -> None:
    code, expected = ENDS[end]
    began = time.monotonic()
    done = run_python(PROLOGUE + code)
    assert done.returncode == expected, done.stderr
    assert time.monotonic() - began < BOUND
    assert "Fatal" not in done.stderr
    assert "terminate called" not in done.stderr


def test_a_stopped_receiver_leaves_no_socket_behind_at_exit(runtime) -> None:
    assert run_python(PROLOGUE).returncode == 0
    assert list(runtime.glob("main/*")) == []


def test_no_message_is_printed_at_a_quiet_end() -> None:
    code = PROLOGUE + "subscribe(lambda _: None)"
    done = run_python(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
