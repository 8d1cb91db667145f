"""Callbacks: who is called with what, when, and what a callback may do."""

from __future__ import annotations

import functools
import gc
import queue
import signal
import subprocess
import sys
import threading
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from receiver_support import PATIENCE, Sender, deliver, receiver_threads, run_python

from tokenrelay import Token, TokenReceiver

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Slow:
    """A callback that notes each token, and stays in each call until it is let go."""

    calls: queue.Queue[str] = field(default_factory=queue.Queue)
    gate: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def __call__(self, token: Token) -> None:
        self.calls.put(token.access_token)
        self.gate.acquire()

    def next_call(self) -> str:
        return self.calls.get(timeout=PATIENCE)


class Heard(queue.Queue[str]):
    """A callback that notes each token."""

    def __call__(self, token: Token) -> None:
        self.put(token.access_token)

    def next_call(self) -> str:
        return self.get(timeout=PATIENCE)


@pytest.fixture
def slow() -> Iterator[Slow]:
    callback = Slow()
    yield callback
    callback.gate.release(1000)


@pytest.fixture
def receiver(slow: Slow) -> Iterator[TokenReceiver]:
    receiver = TokenReceiver("main").start()
    yield receiver
    slow.gate.release(1000)
    receiver.stop()


@pytest.fixture
def unraisable(monkeypatch: pytest.MonkeyPatch) -> queue.Queue[Any]:
    seen: queue.Queue[Any] = queue.Queue()
    monkeypatch.setattr(sys, "unraisablehook", lambda hooked: seen.put(hooked.exc_value))
    return seen


def settle(receiver: TokenReceiver) -> None:
    """Return when the callbacks of all tokens so far have run: a new one is called last."""
    done = threading.Event()
    receiver.subscribe(lambda _: done.set())
    assert done.wait(PATIENCE)


# --- who hears what ---------------------------------------------------------------------------


def test_every_subscriber_hears_of_each_token(receiver: TokenReceiver) -> None:
    callbacks = [Heard() for _ in range(3)]
    for callback in callbacks:
        receiver.subscribe(callback)
    with Sender(receiver) as sender:
        for text in ("one", "two"):
            sender.send(text)
            assert [callback.next_call() for callback in callbacks] == [text] * 3


def test_each_new_subscriber_hears_of_the_current_token_once(receiver: TokenReceiver) -> None:
    deliver(receiver, "abc")
    callbacks = [Heard() for _ in range(3)]
    for callback in callbacks:
        receiver.subscribe(callback)
        assert callback.next_call() == "abc"
    settle(receiver)
    assert all(callback.empty() for callback in callbacks)


def test_a_token_older_than_the_subscriber_is_no_latency(receiver: TokenReceiver) -> None:
    deliver(receiver, "abc")
    heard = Heard()
    receiver.subscribe(heard)
    assert heard.next_call() == "abc"
    settle(receiver)
    assert receiver.stats.python_p99_ns == 0
    deliver(receiver, "def")
    assert heard.next_call() == "def"
    assert receiver.stats.python_p99_ns > 0


def test_a_subscriber_added_while_stopped_hears_after_the_start(receiver: TokenReceiver) -> None:
    deliver(receiver, "abc")
    receiver.stop()
    before, after = Heard(), Heard()
    receiver.subscribe(before)
    receiver.start()
    assert before.next_call() == "abc"
    receiver.subscribe(after)
    assert after.next_call() == "abc"
    assert before.empty()


def test_a_subscription_that_is_not_kept_goes_on(receiver: TokenReceiver) -> None:
    heard = Heard()
    receiver.subscribe(heard)
    gc.collect()
    deliver(receiver, "abc")
    assert heard.next_call() == "abc"


def test_a_callback_gets_the_object_that_a_read_gives(receiver: TokenReceiver) -> None:
    seen: queue.Queue[Token] = queue.Queue()
    receiver.subscribe(seen.put)
    deliver(receiver, "abc")
    assert seen.get(timeout=PATIENCE) is receiver.token


def test_callbacks_run_one_at_a_time(receiver: TokenReceiver) -> None:
    running, together = threading.Lock(), []

    def callback(_: Token) -> None:
        together.append(not running.acquire(blocking=False))
        threading.Event().wait(0.001)
        running.release()

    for _ in range(4):
        receiver.subscribe(callback)
    with Sender(receiver) as sender:
        for number in range(20):
            sender.send(f"token-{number}")
    settle(receiver)
    assert not any(together)
    assert len(together) >= 4


# --- slow callbacks ---------------------------------------------------------------------------


def test_the_next_token_is_readable_while_a_callback_runs(
    receiver: TokenReceiver, slow: Slow
) -> None:
    receiver.subscribe(slow)
    with Sender(receiver) as sender:
        sender.send("one")
        assert slow.next_call() == "one"
        for number in range(2, 12):
            assert sender.send(f"token-{number}")["generation"] == number
            assert receiver.wait(PATIENCE).access_token == f"token-{number}"
    assert slow.calls.empty()
    assert receiver.stats.retained == 0  # the old secrets are wiped meanwhile


def test_a_slow_callback_hears_of_the_newest_token_only(
    receiver: TokenReceiver, slow: Slow
) -> None:
    receiver.subscribe(slow)
    with Sender(receiver) as sender:
        sender.send("one")
        assert slow.next_call() == "one"
        for text in ("two", "three", "four"):
            sender.send(text)
    slow.gate.release()
    assert slow.next_call() == "four"
    slow.gate.release()
    settle(receiver)
    assert slow.calls.empty()


def test_the_others_hear_of_the_newest_token_after_a_slow_callback(
    receiver: TokenReceiver, slow: Slow
) -> None:
    heard = Heard()
    receiver.subscribe(slow)
    receiver.subscribe(heard)
    with Sender(receiver) as sender:
        sender.send("one")
        assert slow.next_call() == "one"
        sender.send("two")
        slow.gate.release()
        assert heard.next_call() == "two"
        assert slow.next_call() == "two"
    assert heard.empty()


def test_a_callback_slower_than_the_tokens_does_not_starve_the_others(
    receiver: TokenReceiver, slow: Slow
) -> None:
    heard = Heard()
    receiver.subscribe(slow)
    receiver.subscribe(heard)
    with Sender(receiver) as sender:
        for number in range(5):
            sender.send(f"token-{number}")
            slow.next_call()
            sender.send(f"next-{number}")  # always a newer one when it returns
            slow.gate.release()
            assert heard.next_call() == f"next-{number}"
            slow.next_call()
            slow.gate.release()
            settle(receiver)


# --- what callbacks raise ---------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_what_a_callback_raises_is_reported_and_counted(
    receiver: TokenReceiver, unraisable: queue.Queue[Any], error: type[BaseException]
) -> None:
    heard = Heard()

    def failing(_: Token) -> None:
        raise error("callback")

    receiver.subscribe(failing)
    receiver.subscribe(heard)
    with Sender(receiver) as sender:
        for text in ("one", "two"):
            sender.send(text)
            assert heard.next_call() == text
            assert type(unraisable.get(timeout=PATIENCE)) is error
    settle(receiver)
    assert receiver.stats.callback_errors == 2


async def _nobody_would_await(_: Token) -> None:
    pass


@pytest.mark.parametrize(
    ("callback", "text"),
    [
        (42, "not int. Give the function itself"),
        (None, "not NoneType. Give the function itself"),
        (_nobody_would_await, "receiver.updates"),
    ],
)
def test_what_cannot_be_called_from_a_thread_is_refused(
    receiver: TokenReceiver, callback: Any, text: str
) -> None:
    with pytest.raises(TypeError, match=text):
        receiver.subscribe(callback)
    deliver(receiver, "abc")
    settle(receiver)
    assert receiver.stats.callback_errors == 0


# --- the thread they run on ------------------------------------------------------------------


def test_a_process_started_in_a_callback_can_be_terminated(receiver: TokenReceiver) -> None:
    """It inherits the program's signal mask, not the receiver's, which blocks every signal."""
    codes: queue.Queue[int] = queue.Queue()

    def callback(_: Token) -> None:
        with subprocess.Popen(["sleep", "60"]) as process:
            process.terminate()
            codes.put(process.wait(PATIENCE))

    receiver.subscribe(callback)
    deliver(receiver, "abc")
    assert codes.get(timeout=PATIENCE) == -signal.SIGTERM


# --- cancel and stop --------------------------------------------------------------------------


def test_a_cancelled_callback_hears_nothing_more(receiver: TokenReceiver) -> None:
    cancelled, heard = Heard(), Heard()
    subscription = receiver.subscribe(cancelled)
    receiver.subscribe(heard)
    subscription.cancel()
    subscription.cancel()
    deliver(receiver, "abc")
    assert heard.next_call() == "abc"
    settle(receiver)
    assert cancelled.empty()


def test_cancel_lets_go_of_the_callback(receiver: TokenReceiver) -> None:
    heard = Heard()
    ghost = weakref.ref(heard)
    subscription = receiver.subscribe(heard)
    deliver(receiver, "abc")
    heard.next_call()
    subscription.cancel()
    del heard
    settle(receiver)
    assert ghost() is None


@pytest.mark.parametrize("end", ["cancel", "stop"])
def test_every_end_waits_for_a_running_callback(
    receiver: TokenReceiver, slow: Slow, end: str
) -> None:
    subscription = receiver.subscribe(slow)
    deliver(receiver, "abc")
    slow.next_call()
    returned: queue.Queue[bool] = queue.Queue()
    finished = threading.Event()

    def watch() -> None:
        (subscription.cancel if end == "cancel" else receiver.stop)()
        returned.put(finished.is_set())

    watchers = [threading.Thread(target=watch) for _ in range(3)]
    for watcher in watchers:
        watcher.start()
    with pytest.raises(queue.Empty):
        returned.get(timeout=0.2)
    finished.set()
    slow.gate.release()
    assert [returned.get(timeout=PATIENCE) for _ in watchers] == [True] * 3


def test_a_callback_may_cancel_itself_and_others_then_wait(
    receiver: TokenReceiver, slow: Slow
) -> None:
    """Cancelled inside, the subscription still has something to wait for outside."""
    inside = queue.Queue[str]()

    def callback(token: Token) -> None:
        mine.cancel()
        inside.put(token.access_token)
        slow(token)

    mine = receiver.subscribe(callback)
    deliver(receiver, "one")
    assert inside.get(timeout=PATIENCE) == "one"
    outside = threading.Thread(target=mine.cancel)
    outside.start()
    outside.join(0.2)
    assert outside.is_alive()
    slow.gate.release()
    outside.join(PATIENCE)
    assert not outside.is_alive()
    deliver(receiver, "two")
    settle(receiver)
    assert inside.empty()


def test_a_callback_may_stop_its_receiver(receiver: TokenReceiver) -> None:
    returned = threading.Event()

    def callback(_: Token) -> None:
        receiver.stop()
        returned.set()

    receiver.subscribe(callback)
    deliver(receiver, "abc")
    assert returned.wait(PATIENCE)
    receiver.stop()
    assert receiver_threads() == []
    receiver.start()
    assert receiver.running


def test_a_callback_cannot_start_the_receiver_it_has_stopped(
    receiver: TokenReceiver, unraisable: queue.Queue[Any]
) -> None:
    def callback(_: Token) -> None:
        receiver.stop()
        receiver.start()

    receiver.subscribe(callback)
    deliver(receiver, "abc")
    assert "cannot start" in str(unraisable.get(timeout=PATIENCE))


def test_a_callback_may_use_every_part_of_its_receiver(receiver: TokenReceiver) -> None:
    results: queue.Queue[Any] = queue.Queue()

    def callback(token: Token) -> None:
        nested = receiver.subscribe(lambda _: None)
        results.put(
            [
                receiver.token is token,
                receiver.wait(0) is token,
                receiver.stats.generation == token.generation,
                receiver.start() is receiver,
                receiver.running,
                receiver.path != "",
                nested.cancel() is None,
                receiver.request_refresh(token) is None,
            ]
        )

    receiver.subscribe(callback)
    deliver(receiver, "abc", serial=1)
    assert all(results.get(timeout=PATIENCE))


def test_a_start_that_waits_for_a_stopped_callback_lets_it_read_stats(
    receiver: TokenReceiver, slow: Slow
) -> None:
    def callback(token: Token) -> None:
        receiver.stop()
        slow(token)
        assert receiver.stats.generation == 1
        assert receiver.path

    receiver.subscribe(callback)
    deliver(receiver, "abc")
    slow.next_call()
    starter = threading.Thread(target=receiver.start)
    starter.start()
    starter.join(0.2)
    assert starter.is_alive()
    assert not receiver.running
    slow.gate.release()
    starter.join(PATIENCE)
    assert receiver.running
    assert receiver.stats.callback_errors == 0


def test_cancel_and_deliver_race_without_a_call_after_cancel(receiver: TokenReceiver) -> None:
    deliver(receiver, "first")
    late: list[str] = []

    def callback(cancelled: threading.Event, token: Token) -> None:
        if cancelled.is_set():
            late.append(token.access_token)

    done = threading.Event()

    def send() -> None:
        with Sender(receiver) as sender:
            number = 0
            while not done.is_set():
                sender.send(f"token-{(number := number + 1)}")

    thread = threading.Thread(target=send)
    thread.start()
    for _ in range(200):
        cancelled = threading.Event()
        subscription = receiver.subscribe(functools.partial(callback, cancelled))
        subscription.cancel()
        cancelled.set()
    done.set()
    thread.join()
    settle(receiver)
    assert late == []


def test_threads_that_subscribe_cancel_stop_and_start_do_not_block_each_other(
    receiver: TokenReceiver,
) -> None:
    done = threading.Event()

    def subscribe() -> None:
        while not done.is_set():
            receiver.subscribe(lambda token: token.access_token).cancel()

    threads = [threading.Thread(target=subscribe) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(30):
        receiver.start()
        deliver(receiver, f"token-{number}")
        receiver.stop()
    done.set()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


# The first subscriber brings one more thread, whose stack finds no room here.
WITHOUT_ROOM = """
import queue, resource, threading
from pathlib import Path
from receiver_support import PATIENCE, deliver
from tokenrelay import TokenReceiver
from tokenrelay.errors import ReceiverError
before = resource.getrlimit(resource.RLIMIT_AS)
refused, heard, go_on = queue.Queue(), queue.Queue(), threading.Event()
def hold(token):
    heard.put(token)
    go_on.wait()
with TokenReceiver("main") as receiver:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 65_536, before[1]))
    try:
        receiver.subscribe(refused.put)
    except ReceiverError as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_AS, before)
    deliver(receiver, "first")
    receiver.subscribe(hold)
    print(heard.get(timeout=PATIENCE).access_token, refused.qsize())
    deliver(receiver, "second")
    print(receiver.token.access_token)
    go_on.set()
"""


def test_a_callback_that_finds_no_thread_is_not_kept_and_the_next_one_may() -> None:
    done = run_python(WITHOUT_ROOM)
    assert done.returncode == 0, done.stderr
    error, first, second = done.stdout.splitlines()
    assert "cannot start the receiver's thread for callbacks" in error
    assert "ulimit -u" in error
    assert first == "first 0"
    assert second == "second"
