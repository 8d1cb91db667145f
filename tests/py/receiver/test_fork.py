"""fork(2) and multiprocessing: a child has nothing of its parent's, and can start anew."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from receiver_support import PATIENCE, Sender, deliver, receiver_threads, run_python

from tokenrelay import ForkedReceiver, Token, TokenReceiver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Forking with threads is what is tested; Python 3.12 and newer warn of it.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@pytest.fixture
def busy_switching() -> Iterator[None]:
    """Threads that take turns fifty times as often: more moments, and less waiting for a turn."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    yield
    sys.setswitchinterval(interval)


def in_child(work: Callable[[], object]) -> None:
    """Run `work` in a forked child, which ends without Python's clean-up; fail if it does."""
    child = os.fork()
    if child == 0:
        signal.alarm(int(PATIENCE))
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def socket_links(pid: int | str = "self") -> set[str]:
    links = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        if entry.is_symlink():
            links.add(str(entry.readlink()))
    return links


def raises_forked(call: Callable[[], object]) -> bool:
    try:
        call()
    except ForkedReceiver as error:
        return "start()" in str(error)
    return False


def test_a_child_has_no_token_until_it_starts(receiver: TokenReceiver) -> None:
    deliver(receiver, "abc", serial=1)
    token = receiver.wait(PATIENCE)

    def child() -> None:
        assert receiver.forked
        assert not receiver.running
        assert raises_forked(lambda: receiver.token)
        assert raises_forked(lambda: receiver.wait(0))
        assert raises_forked(lambda: receiver.request_refresh(token))
        assert "forked" in repr(receiver)
        assert receiver_threads() == []
        receiver.start()
        assert not receiver.forked
        assert receiver.token is None
        deliver(receiver, "child")
        assert receiver.wait(PATIENCE).access_token == "child"
        receiver.stop()

    in_child(child)
    assert receiver.token is token
    deliver(receiver, "parent")
    assert receiver.wait(PATIENCE).access_token == "parent"


def test_the_parent_receives_after_the_child_started_and_stopped(receiver: TokenReceiver) -> None:
    heard: list[Token] = []
    called = threading.Event()
    receiver.subscribe(lambda token: (heard.append(token), called.set()))
    path = receiver.path
    in_child(lambda: receiver.start().stop())
    assert Path(path).exists()
    deliver(path, "abc")
    assert called.wait(PATIENCE)


def test_a_child_keeps_no_socket_of_its_parents(receiver: TokenReceiver) -> None:
    with Sender(receiver) as sender:
        sender.send("abc")
        parents = {link for link in socket_links() if link.startswith("socket:")}

        def child() -> None:
            mine = {link for link in socket_links() if link.startswith("socket:")}
            # The sender's own end, which is Python's.
            assert len(parents & mine) == len(parents) - 2

        in_child(child)


def test_a_child_has_no_bell_of_its_parents_and_the_parents_still_rings(
    receiver: TokenReceiver,
) -> None:
    def child(bell: int) -> None:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(bell)
        # What has the bell's number now is the child's own.
        reader, writer = os.pipe()
        os.dup2(writer, bell)
        with receiver:
            deliver(receiver, "child")
            assert receiver.wait(PATIENCE).access_token == "child"
        os.close(bell)
        os.close(writer)
        assert os.read(reader, 8) == b""

    async def parent() -> str:
        waits = receiver.next(timeout=PATIENCE)
        waiting = asyncio.ensure_future(waits)
        await asyncio.sleep(0)
        (bell,) = receiver._bells
        in_child(partial(child, bell._fd))
        in_child(waits.close)
        deliver(receiver, "parent")
        return (await waiting).access_token

    assert asyncio.run(parent()) == "parent"


def test_a_stopped_receivers_token_is_gone_in_the_child(receiver: TokenReceiver) -> None:
    deliver(receiver, "abc")
    token = receiver.wait(PATIENCE)
    receiver.stop()

    def child() -> None:
        assert receiver.token is None

    in_child(child)
    assert receiver.token is token


def test_callbacks_of_the_parent_run_in_a_child_that_started(receiver: TokenReceiver) -> None:
    called = threading.Event()
    pids: list[int] = []
    receiver.subscribe(lambda _: (pids.append(os.getpid()), called.set()))

    def child() -> None:
        with receiver:
            deliver(receiver, "abc")
            assert called.wait(PATIENCE)
            assert pids == [os.getpid()]

    in_child(child)


def test_a_fork_while_a_callback_runs_leaves_the_child_free(receiver: TokenReceiver) -> None:
    entered, release = threading.Event(), threading.Event()
    subscription = receiver.subscribe(lambda _: (entered.set(), release.wait()))
    deliver(receiver, "abc")
    entered.wait(PATIENCE)

    def child() -> None:
        subscription.cancel()
        called = threading.Event()
        receiver.subscribe(lambda _: called.set())
        with receiver:
            deliver(receiver, "child")
            assert called.wait(PATIENCE)

    in_child(child)
    release.set()


def test_a_callback_may_fork(receiver: TokenReceiver) -> None:
    parent = os.getpid()
    statuses: list[int] = []
    called = threading.Event()

    def callback(_: Token) -> None:
        if os.getpid() != parent:
            return
        child = os.fork()
        if child == 0:
            signal.alarm(int(PATIENCE))
            ok = raises_forked(lambda: receiver.token)
            with receiver:
                deliver(receiver, "child")
                ok = ok and receiver.wait(PATIENCE).access_token == "child"
            os._exit(0 if ok else 1)
        statuses.append(os.waitpid(child, 0)[1])
        called.set()

    receiver.subscribe(callback)
    deliver(receiver, "abc")
    assert called.wait(PATIENCE)
    assert statuses == [0]


def test_a_child_that_returns_from_the_callback_ends_and_does_not_spin(
    receiver: TokenReceiver,
) -> None:
    children: list[int] = []
    called = threading.Event()

    def callback(_: Token) -> None:
        child = os.fork()
        if child == 0:
            signal.alarm(int(PATIENCE))
            return
        children.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        called.set()

    receiver.subscribe(callback)
    deliver(receiver, "abc")
    assert called.wait(PATIENCE)
    assert children == [0]


@pytest.mark.timeout(900)  # half a minute, on a machine with ten times its load several
def test_a_thousand_forks_at_random_moments_leave_parent_and_children_whole(
    receiver: TokenReceiver, busy_switching: None
) -> None:
    done = threading.Event()
    receiver.subscribe(lambda token: token.access_token)

    def send() -> None:
        with Sender(receiver) as sender:
            number = 0
            while not done.is_set():
                sender.send(f"token-{(number := number + 1)}")

    def churn() -> None:
        while not done.is_set():
            with TokenReceiver("other") as other:
                other.subscribe(lambda _: None).cancel()

    def look() -> None:
        assert raises_forked(lambda: receiver.token)

    def child() -> None:
        with receiver:
            assert deliver(receiver, "child")["ok"]
            assert receiver.wait(PATIENCE).access_token == "child"

    threads = [threading.Thread(target=target) for target in (send, churn)]
    for thread in threads:
        thread.start()
    try:
        for number in range(1000):
            in_child(child if number % 10 == 0 else look)
    finally:
        done.set()
        for thread in threads:
            thread.join(PATIENCE)
    assert deliver(receiver, "parent")["ok"]


def exchange(connection: Any) -> None:
    """In a process of multiprocessing's: receive one token, say which."""
    with TokenReceiver("main") as receiver:
        connection.send(receiver.path)
        connection.send(receiver.wait(PATIENCE).access_token)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_children_receive_and_leave_the_parent_alone(
    receiver: TokenReceiver, method: str
) -> None:
    deliver(receiver, "parent")
    context = multiprocessing.get_context(method)
    ours, theirs = context.Pipe()
    process = context.Process(target=exchange, args=(theirs,))
    process.start()
    assert ours.poll(PATIENCE)
    path = ours.recv()
    deliver(path, "child")
    assert ours.poll(PATIENCE)
    assert ours.recv() == "child"
    process.join(PATIENCE)
    assert process.exitcode == 0
    assert Path(receiver.path).exists()
    assert receiver.wait(0).access_token == "parent"


def test_a_child_that_ends_through_pythons_exit_leaves_the_parents_socket() -> None:
    code = """
import os, sys, warnings
from receiver_support import deliver
from tokenrelay import TokenReceiver
warnings.simplefilter("ignore")
receiver = TokenReceiver("main").start()
receiver.subscribe(lambda _: None)
child = os.fork()
if child == 0:
    sys.exit(3)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
assert deliver(receiver, "abc")["ok"]
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr
