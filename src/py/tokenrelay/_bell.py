"""Waking asyncio at a publication, from no foreign thread."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .errors import ReceiverStopped

if TYPE_CHECKING:
    from typing import Self

    from ._core import Token
    from .receiver import TokenReceiver


CLOSED = -1


class Bell:
    """Wakes one coroutine of the running loop at each publication."""

    def __init__(self, receiver: TokenReceiver) -> None:
        import asyncio

        self._receiver = receiver
        self._loop = asyncio.get_running_loop()
        self._rung = asyncio.Event()

    def __enter__(self) -> Self:
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        try:
            self._loop.add_reader(self._fd, self._on_readable)
            self._subscription = self._receiver._subscribe_fd(self._fd)
        except BaseException:
            os.close(self._fd)
            raise
        with self._receiver._bells_lock:
            self._receiver._bells.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        if self._fd == CLOSED:
            return
        with self._receiver._bells_lock:
            self._receiver._bells.discard(self)
        self._subscription.cancel()
        if not self._loop.is_closed():
            self._loop.remove_reader(self._fd)
        os.close(self._fd)

    def close_after_fork(self) -> None:
        """In a forked child: give up the descriptor, and leave the loop, whose epoll is the
        parent's too, alone."""
        self._subscription.cancel()
        os.close(self._fd)
        self._fd = CLOSED

    def ring(self) -> None:
        os.eventfd_write(self._fd, 1)

    def _on_readable(self) -> None:
        os.eventfd_read(self._fd)
        self._rung.set()

    async def next_token(self, generation: int) -> Token:
        while True:
            self._rung.clear()
            token = self._receiver._valid(generation)
            if token is not None:
                return token
            if not self._receiver.running:
                raise stopped()
            await self._rung.wait()


def stopped() -> ReceiverStopped:
    """What a wait ends with that no token can end."""
    return ReceiverStopped(
        "the receiver is not running. Use it in a with statement, or call start()"
    )
