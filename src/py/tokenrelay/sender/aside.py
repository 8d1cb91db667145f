"""Calls that may wait for a person."""

from __future__ import annotations

from concurrent.futures import Future
from threading import Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenrelay.sender.clock import Sleep

POLL_SECONDS = 0.05


async def call_aside(function: Callable[[], None], *, sleep: Sleep) -> None:
    """Calls ``function`` in a thread of its own, and raises what it raises. Neither a cancellation
    nor the end of the process waits for it. Calls ``sleep``, as a sign of life, while it runs."""
    outcome: Future[None] = Future()

    def run() -> None:
        try:
            function()
        except BaseException as error:
            outcome.set_exception(error)
        else:
            outcome.set_result(None)

    Thread(target=run, daemon=True).start()
    while not outcome.done():
        await sleep(POLL_SECONDS)
    outcome.result()
