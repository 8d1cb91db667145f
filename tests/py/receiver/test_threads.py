"""Threads that use one receiver in every way at once, with the GIL and without."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

import pytest
from receiver_support import PATIENCE, Sender, deliver

from tokenrelay import ReceiverStopped, TokenReceiver

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKENS = 200
RESTARTS = 20

Task = Callable[["Crowd"], None]


class Crowd:
    """Threads that work on one receiver until the block ends; what they raise is raised there."""

    def __init__(self, receiver: TokenReceiver, *tasks: Task) -> None:
        self.receiver = receiver
        self.ended = threading.Event()
        self.newest = 0  # generation that the sender has been answered for
        self._faults: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run, args=[task]) for task in tasks]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        for thread in self._threads:
            thread.join(PATIENCE)
        assert not any(thread.is_alive() for thread in self._threads)
        if self._faults:
            raise self._faults[0]

    def _run(self, task: Task) -> None:
        try:
            while not self.ended.is_set():
                task(self)
        except BaseException as error:
            self._faults.append(error)


@pytest.fixture(autouse=True)
def _frequent_switches() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


# --- tasks --------------------------------------------------------------------------------------


def read(crowd: Crowd) -> None:
    """The newest token: never older than what the sender was answered for, and whole."""
    at_least = crowd.newest
    token = crowd.receiver.token
    if token is not None:
        assert token.generation >= at_least
        assert token.access_token == f"token-{token.generation}"


def subscribe_and_cancel(crowd: Crowd) -> None:
    """A callback hears in order, and nothing once cancel() has returned."""
    heard: list[int] = []
    subscription = crowd.receiver.subscribe(lambda token: heard.append(token.generation))
    again = crowd.receiver.subscribe(lambda _: subscription.cancel())
    again.cancel()
    subscription.cancel()
    count = len(heard)
    subscription.cancel()
    assert len(heard) == count
    assert heard == sorted(set(heard))


def wait(crowd: Crowd) -> None:
    with contextlib.suppress(ReceiverStopped):
        token = crowd.receiver.wait(PATIENCE)
        assert token.access_token == f"token-{token.generation}"


def count(crowd: Crowd) -> None:
    at_least = crowd.newest
    assert crowd.receiver.stats.generation >= at_least


def await_one(crowd: Crowd) -> None:
    with contextlib.suppress(ReceiverStopped):
        asyncio.run(crowd.receiver.next(timeout=PATIENCE))


# --- tests --------------------------------------------------------------------------------------


def test_tokens_come_while_threads_use_the_receiver_in_every_way(receiver: TokenReceiver) -> None:
    tasks = (read, read, subscribe_and_cancel, subscribe_and_cancel, wait, count, await_one)
    with Sender(receiver) as sender, Crowd(receiver, *tasks) as crowd:
        for generation in range(1, TOKENS + 1):
            assert sender.send(f"token-{generation}")["generation"] == generation
            crowd.newest = generation
    assert receiver.stats.callback_errors == 0


def test_a_receiver_restarts_while_threads_use_it(receiver: TokenReceiver) -> None:
    with Crowd(receiver, read, read, subscribe_and_cancel, wait, count, await_one) as crowd:
        for generation in range(1, RESTARTS + 1):
            assert deliver(receiver, f"token-{generation}")["generation"] == generation
            crowd.newest = generation
            receiver.stop()
            receiver.start()
    assert receiver.stats.callback_errors == 0


def test_threads_that_read_a_new_token_first_get_the_same_object(receiver: TokenReceiver) -> None:
    barrier = threading.Barrier(3)
    seen: list[object] = []

    def read_together(_: Crowd) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            barrier.wait(PATIENCE)
            seen.append(receiver.token)
            barrier.wait(PATIENCE)

    with Sender(receiver) as sender, Crowd(receiver, read_together, read_together):
        for number in range(TOKENS):
            sender.send(f"token-{number}")
            barrier.wait(PATIENCE)
            barrier.wait(PATIENCE)
            first, second = seen
            assert first is second
            seen.clear()
        barrier.abort()
