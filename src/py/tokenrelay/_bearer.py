"""What every adapter does with tokens, whatever its library.

Before a request: the newest valid token, waited for a bounded time where there is none. After an
answer of 401: ask for a refresh of the refused token, wait a bounded time for a newer one.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .errors import ReceiverStopped, TokenExpired, TokenTimeout

if TYPE_CHECKING:
    from . import Token, TokenReceiver

UNAUTHORIZED = 401

REFRESH_PACE = 60.0
"""Seconds between two refreshes that a sender makes because a token was refused."""


class Bearer:
    """A receiver's tokens for one adapter. Every method may be called from any thread; those that
    end in ``_async`` belong to asyncio and never block its loop.

    ``timeout``: seconds, for a valid token before a request and for a newer one after a 401.
    """

    __slots__ = ("_receiver", "_refusals", "_timeout")

    def __init__(self, receiver: TokenReceiver, timeout: float) -> None:
        self._receiver, self._timeout = receiver, timeout
        self._refusals = Refusals(timeout)

    def token(self) -> Token:
        """The token to send. Raises `TokenExpired`, `TokenTimeout` or `ReceiverStopped`."""
        newest = self._receiver.token
        if newest is not None and not newest.expired:
            return newest
        try:
            return self._receiver.wait(self._timeout)
        except TokenTimeout as error:
            raise _none_valid(newest, error) from None

    async def token_async(self) -> Token:
        """`token` for asyncio."""
        newest = self._receiver.token
        if newest is not None and not newest.expired:
            return newest
        try:
            return await self._receiver.next(timeout=self._timeout)
        except TokenTimeout as error:
            raise _none_valid(newest, error) from None

    def newer(self, refused: Token) -> Token | None:
        """A valid token newer than ``refused``; None where none came in time."""
        if (newest := self._newest_after(refused)) is not None:
            return newest
        if (left := self.refuse(refused)) <= 0:
            return None
        try:
            return self._receiver.wait(left, after=refused)
        except (TokenTimeout, ReceiverStopped):
            return None  # the server's own answer says it best

    async def newer_async(self, refused: Token) -> Token | None:
        """`newer` for asyncio."""
        if (newest := self._newest_after(refused)) is not None:
            return newest
        if (left := self.refuse(refused)) <= 0:
            return None
        try:
            return await self._receiver.next(timeout=left, after=refused)
        except (TokenTimeout, ReceiverStopped):
            return None

    def refuse(self, refused: Token) -> float:
        """Ask for a refresh, unless one is waited for; the seconds that a newer token has left.

        Once the wait was in vain, each call asks: the sender may follow by now.
        """
        if self._newest_after(refused) is not None:
            return 0.0
        ask, left = self._refusals.note(refused.generation, time.monotonic())
        if ask:
            self._receiver.request_refresh(refused)
        return left

    def _newest_after(self, refused: Token) -> Token | None:
        newest = self._receiver.token
        if newest is None or newest.expired or newest.generation <= refused.generation:
            return None
        return newest


class Refusals:
    """Since when the newest token has been refused.

    All calls that meet the same refusal share one request and one wait. A 401 may not be the
    token's fault, so once the wait was in vain, further ones are not held up for a while.
    Takes no lock: a fork at any moment leaves none behind.
    """

    __slots__ = ("_since", "_timeout")

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._since: dict[int, float] = {}  # by generation; only the newest stays

    def note(self, generation: int, now: float) -> tuple[bool, float]:
        """Whether to ask for a refresh, and how many seconds from ``now`` to wait for it."""
        since = self._since.get(generation)
        if since is not None and now - since >= max(REFRESH_PACE, self._timeout):
            self._since.pop(generation, None)
        # Atomic: of those who come at once, one finds its own number.
        since = self._since.setdefault(generation, now)
        if since is now:
            self._forget_before(generation)
        left = since + self._timeout - now
        return since is now or left <= 0, max(left, 0.0)

    def _forget_before(self, generation: int) -> None:
        for old in list(self._since):
            if old < generation:
                self._since.pop(old, None)


def _none_valid(newest: Token | None, error: TokenTimeout) -> Exception:
    if newest is None:
        return error
    return TokenExpired(f"the newest token expired {-newest.expires_in:.0f} s ago, and {error}")
