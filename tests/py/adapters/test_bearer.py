"""What the adapters share: which token is sent, when a refresh is asked for, how long is waited."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from adapters_support import outlive

from tokenrelay import TokenExpired, TokenReceiver, TokenTimeout
from tokenrelay._bearer import REFRESH_PACE, Bearer, Refusals

if TYPE_CHECKING:
    from support.raw_sender import Sender

ASK, BE_SILENT = True, False


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (0.1, (BE_SILENT, 9.9)),
        (9.0, (BE_SILENT, 1.0)),
        (10.0, (ASK, 0.0)),  # the wait was in vain: who comes now is not held up
        (59.0, (ASK, 0.0)),
        (REFRESH_PACE, (ASK, 10.0)),
    ],
)
def test_the_second_refusal_of_a_token(after: float, expected: tuple[bool, float]) -> None:
    refusals = Refusals(10.0)
    assert refusals.note(5, 1000.0) == (ASK, 10.0)
    assert refusals.note(5, 1000.0 + after) == (expected[0], pytest.approx(expected[1]))


def test_each_token_is_asked_for_once() -> None:
    refusals = Refusals(10.0)
    assert refusals.note(5, 1000.0) == (ASK, 10.0)
    assert refusals.note(6, 1001.0) == (ASK, 10.0)
    assert refusals.note(6, 1002.0) == (BE_SILENT, 9.0)


def test_threads_that_come_at_once_ask_once() -> None:
    with ThreadPoolExecutor(8) as pool:
        for _ in range(200):
            refusals = Refusals(10.0)
            notes = pool.map(lambda _, r=refusals: r.note(1, time.monotonic()), range(8))
            assert [asked for asked, _ in notes].count(ASK) == 1


def test_a_newer_token_that_is_there_is_taken_without_a_request(
    receiver: TokenReceiver, sender: Sender
) -> None:
    sender.send("one", serial=1)
    refused = receiver.wait(20)
    sender.send("two", serial=2)
    newest = receiver.wait(20, after=refused)
    bearer = Bearer(receiver, 20)
    assert bearer.newer(refused) is newest
    assert bearer.refuse(refused) == 0
    assert receiver.stats.refresh_requests == 0


def test_a_stopped_receiver_leaves_the_answer_as_it_was(
    receiver: TokenReceiver, sender: Sender
) -> None:
    sender.send("one", serial=1)
    refused = receiver.wait(20)
    receiver.stop()
    bearer = Bearer(receiver, 20)
    assert bearer.token() is refused
    assert bearer.newer(refused) is None


def test_without_a_token_the_wait_ends(receiver: TokenReceiver) -> None:
    with pytest.raises(TokenTimeout, match="tokenrelay doctor"):
        Bearer(receiver, 0.01).token()


def test_an_expired_token_is_said_to_be_one(receiver: TokenReceiver, sender: Sender) -> None:
    sender.send("short", expires_at=int(time.time()) + 2)
    outlive(receiver)
    with pytest.raises(TokenExpired, match=r"expired \d s ago.*tokenrelay doctor"):
        Bearer(receiver, 0.01).token()
