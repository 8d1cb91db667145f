"""How many refreshes may be under way at once, and which of them goes first.

A thousand tokens that are due together, after a suspend for instance, would take turns at one
processor and one disk: each answer would be read after its deadline, saved late, or asked for again
after the provider's grace. So what may have been spent already, an answer to save or one to ask for
again, never waits behind refreshes that could as well begin later. Providers have turns of their
own, so that one that does not answer delays no other.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tokenrelay.sender.clock import Sleep
    from tokenrelay.sender.config import Account

REFRESHES_AT_ONCE = 32
INTENTS_AT_ONCE = 8  # writers of what is about to be spent: they set the pace of all else
ANSWERS_AT_ONCE = 32  # writers of what has been spent
SIGN_OF_LIFE = 10.0


@dataclass(frozen=True, slots=True)
class DiskTurns:
    """Threads that write for all providers; each kind waits only behind its own."""

    intents: anyio.CapacityLimiter = field(
        default_factory=partial(anyio.CapacityLimiter, INTENTS_AT_ONCE)
    )
    answers: anyio.CapacityLimiter = field(
        default_factory=partial(anyio.CapacityLimiter, ANSWERS_AT_ONCE)
    )


@dataclass(frozen=True, slots=True)
class ProviderTurns:
    """What one provider's accounts share. The urgent have turns of their own, as many as may have
    been lost at once."""

    disk: DiskTurns = field(default_factory=DiskTurns)
    fresh: anyio.CapacityLimiter = field(
        default_factory=partial(anyio.CapacityLimiter, REFRESHES_AT_ONCE)
    )
    recovering: anyio.CapacityLimiter = field(
        default_factory=partial(anyio.CapacityLimiter, REFRESHES_AT_ONCE)
    )

    @asynccontextmanager
    async def turn(self, *, urgent: bool, sleep: Sleep) -> AsyncIterator[None]:
        """Held while a refresh is under way; ``urgent``: an answer was lost that the provider's
        grace still lets us ask for again. Calls ``sleep``, as a sign of life, while it waits."""
        limiter = self.recovering if urgent else self.fresh
        while True:
            with anyio.move_on_after(SIGN_OF_LIFE) as waiting:
                await limiter.acquire()
            if not waiting.cancelled_caught:
                break
            await sleep(0.0)
        try:
            yield
        finally:
            limiter.release()


class Turns:
    """Shared by all accounts of a sender. For the event loop's thread."""

    def __init__(self) -> None:
        disk = DiskTurns()
        self._providers: dict[str, ProviderTurns] = defaultdict(lambda: ProviderTurns(disk))

    def of(self, account: Account) -> ProviderTurns:
        """Those of this account's provider."""
        return self._providers[urlsplit(account.token_url or account.issuer or "").netloc]
