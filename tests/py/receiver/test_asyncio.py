"""`updates`, `next` and `async with` on asyncio's own loop and on uvloop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop
from receiver_support import PATIENCE, Sender, deliver, open_eventfds

from tokenrelay import ReceiverStopped, Token, TokenReceiver, TokenTimeout

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """A function that runs a coroutine to its end on a loop of its own."""

    def run_coroutine(coroutine: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=request.param) as runner:
            return runner.run(coroutine)

    return run_coroutine


async def deliver_soon(receiver: TokenReceiver, text: str, **fields: Any) -> None:
    await asyncio.to_thread(deliver, receiver, text, **fields)


async def read_some(receiver: TokenReceiver, count: int) -> list[str]:
    texts: list[str] = []
    async for token in receiver.updates():
        texts.append(token.access_token)
        if len(texts) == count:
            break
    return texts


async def yield_to_others() -> None:
    """Let every other task of the loop run until it waits."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_async_with_starts_and_stops(run: Run) -> None:
    async def main() -> None:
        async with TokenReceiver("main") as receiver:
            assert receiver.running
        assert not receiver.running

    run(main())


def test_updates_gives_the_current_token_then_each_new_one(
    receiver: TokenReceiver, run: Run
) -> None:
    deliver(receiver, "one")

    async def main() -> list[str]:
        texts: list[str] = []
        async for token in receiver.updates():
            texts.append(token.access_token)
            if len(texts) == 3:
                return texts
            await deliver_soon(receiver, f"after-{token.access_token}")
        return texts

    assert run(main()) == ["one", "after-one", "after-after-one"]


def test_updates_never_holds_a_backlog(receiver: TokenReceiver, run: Run) -> None:
    async def main() -> list[str]:
        updates = receiver.updates()
        first = asyncio.ensure_future(anext(updates))
        await yield_to_others()
        with Sender(receiver) as sender:  # blocks the loop: they all come before it looks
            for number in range(50):
                sender.send(f"token-{number}")
        texts = [(await first).access_token]
        await deliver_soon(receiver, "last")
        texts.append((await anext(updates)).access_token)
        await updates.aclose()
        return texts

    assert run(main()) == ["token-49", "last"]


def test_updates_ends_when_another_thread_stops_the_receiver(
    receiver: TokenReceiver, run: Run
) -> None:
    async def main() -> list[str]:
        reading = asyncio.create_task(read_some(receiver, 99))
        await yield_to_others()
        await asyncio.to_thread(receiver.stop)
        return await reading

    assert run(main()) == []


def test_updates_of_a_receiver_that_is_not_running_ends_at_once(run: Run) -> None:
    assert run(read_some(TokenReceiver("main"), 1)) == []


def test_updates_never_yields_an_expired_token(receiver: TokenReceiver, run: Run) -> None:
    async def main() -> list[str]:
        await deliver_soon(receiver, "brief", expires_at=int(time.time()) + 1)
        token = receiver.token
        assert token is not None
        await asyncio.sleep(max(token.expires_in, 0) + 0.01)
        assert token.expired
        reading = asyncio.create_task(read_some(receiver, 1))
        await yield_to_others()
        await deliver_soon(receiver, "fresh")
        return await reading

    assert run(main()) == ["fresh"]


def test_next_waits_for_a_token_newer_than_the_given_one(receiver: TokenReceiver, run: Run) -> None:
    async def main() -> list[str]:
        await deliver_soon(receiver, "one")
        first = await receiver.next()
        second = asyncio.create_task(receiver.next(timeout=PATIENCE, after=first))
        await yield_to_others()
        assert not second.done()
        await deliver_soon(receiver, "two")
        return [first.access_token, (await second).access_token]

    assert run(main()) == ["one", "two"]


def test_next_times_out(receiver: TokenReceiver, run: Run) -> None:
    with pytest.raises(TokenTimeout):
        run(receiver.next(timeout=0.05))


def test_next_says_that_the_receiver_is_not_running(run: Run) -> None:
    with pytest.raises(ReceiverStopped):
        run(TokenReceiver("main").next())


def test_a_cancelled_reader_leaves_no_descriptor(receiver: TokenReceiver, run: Run) -> None:
    async def main() -> tuple[int, int]:
        before = open_eventfds()
        tasks = [asyncio.create_task(receiver.next()) for _ in range(20)]
        tasks += [asyncio.create_task(read_some(receiver, 9)) for _ in range(20)]
        await yield_to_others()
        assert open_eventfds() == before + 40
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return before, open_eventfds()

    before, after = run(main())
    assert before == after


def test_a_forgotten_iterator_leaves_no_descriptor(receiver: TokenReceiver, run: Run) -> None:
    deliver(receiver, "abc")

    async def main() -> None:
        await anext(receiver.updates())
        updates.append(receiver.updates())
        await anext(updates[0])

    updates: list[Any] = []
    before = open_eventfds()
    run(main())
    updates.clear()
    assert open_eventfds() == before


def test_loops_in_two_threads_read_one_receiver_while_it_is_stopped_and_started(run: Run) -> None:
    receiver = TokenReceiver("main").start()
    errors: list[BaseException] = []
    done = threading.Event()

    async def read_again_and_again() -> None:
        while not done.is_set():
            tasks = [asyncio.create_task(receiver.next(timeout=0.01)) for _ in range(3)]
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            expected = Token | TokenTimeout | ReceiverStopped
            errors.extend(each for each in outcomes if not isinstance(each, expected))

    def run_loop() -> None:
        try:
            run(read_again_and_again())
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run_loop) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(40):
        receiver.start()
        deliver(receiver, f"token-{number}")
        receiver.stop()
    done.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert errors == []


def test_two_tasks_of_one_loop_hear_of_the_same_token(receiver: TokenReceiver, run: Run) -> None:
    async def main() -> list[Token]:
        tasks = [asyncio.create_task(receiver.next()) for _ in range(5)]
        await yield_to_others()
        await deliver_soon(receiver, "abc")
        return await asyncio.gather(*tasks)

    tokens = run(main())
    assert all(token is receiver.token for token in tokens)


def test_every_loop_hears_of_each_new_token(receiver: TokenReceiver, run: Run) -> None:
    heard: dict[int, list[str]] = {}
    turn = threading.Barrier(5)

    async def listen(number: int) -> None:
        async for token in receiver.updates():
            heard.setdefault(number, []).append(token.access_token)
            await asyncio.to_thread(turn.wait, PATIENCE)
            if token.access_token == "token-9":
                return

    threads = [threading.Thread(target=lambda n=n: run(listen(n))) for n in range(4)]
    for thread in threads:
        thread.start()
    for number in range(10):
        deliver(receiver, f"token-{number}")
        turn.wait(PATIENCE)  # until each of them has it
    for thread in threads:
        thread.join(PATIENCE)
    expected = [f"token-{number}" for number in range(10)]
    assert heard == dict.fromkeys(range(4), expected)


def test_leaving_while_a_callback_runs_leaves_the_loop_free(run: Run) -> None:
    entered, release = threading.Event(), threading.Event()

    async def main() -> None:
        async with TokenReceiver("main") as receiver:
            receiver.subscribe(lambda _: (entered.set(), release.wait()))
            await deliver_soon(receiver, "abc")
            await asyncio.to_thread(entered.wait, PATIENCE)
            asyncio.get_running_loop().call_soon(release.set)  # run once the loop is left alone
        assert not receiver.running

    run(main())


def test_a_reader_starts_anew_after_one_was_cancelled(receiver: TokenReceiver, run: Run) -> None:
    async def main() -> str:
        reading = asyncio.create_task(read_some(receiver, 1))
        await yield_to_others()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await deliver_soon(receiver, "abc")
        return (await read_some(receiver, 1))[0]

    assert run(main()) == "abc"
