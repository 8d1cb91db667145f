"""The sender's end: the first signal waits for answers that may hold a new refresh token, the
second one does not."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from structlog.typing import FilteringBoundLogger

    from tokenrelay.sender.account_runner import AccountRunner
    from tokenrelay.sender.config import Account
    from tokenrelay.sender.service_manager import ServiceManager

# A terminal signals its whole foreground group, and a wrapper passes on what it got as well.
SAME_SIGNAL_SECONDS = 0.5
SHOWN_ACCOUNTS = 5


class Ending:
    """Cancels ``scope`` once, and says what it then waits for. ``last_words``: writes the log's
    lines out, before an end at once. For the event loop's thread."""

    def __init__(
        self,
        scope: anyio.CancelScope,
        accounts: Callable[[], Iterable[AccountRunner]],
        *,
        manager: ServiceManager,
        log: FilteringBoundLogger,
        last_words: Callable[[], None] = lambda: None,
    ) -> None:
        self._last_words = last_words
        self._scope, self._accounts = scope, accounts
        self._manager, self._log = manager, log
        self._begun_at: float | None = None

    async def follow(self, signals: AsyncIterator[signal.Signals]) -> None:
        """Obey each signal, until cancelled; it must go on while the end is awaited."""
        async for number in signals:
            if self._begun_at is None:
                self.begin(number.name)
            elif anyio.current_time() - self._begun_at >= SAME_SIGNAL_SECONDS:
                self._end_at_once(number)

    def begin(self, cause: str) -> None:
        """End all that can be ended now."""
        self._begun_at = anyio.current_time()
        awaited = [account for account in self._accounts() if account.awaits_answer]
        longest = max((_patience(one.account) for one in awaited), default=0.0)
        self._log.info("ending", signal=cause)
        if awaited:
            self._log.warning(
                "waiting for an answer of the provider, which may hold a new refresh token",
                accounts=[account.name for account in awaited[:SHOWN_ACCOUNTS]],
                count=len(awaited),
                at_most_s=longest,
                hint="a second signal ends at once; the next start asks for that answer again, "
                "which a provider without grace refuses",
            )
        unsaved = [one for one in self._accounts() if one.unsaved and one not in awaited]
        if unsaved:
            self._log.warning(
                "a new token is in memory alone; one more try to save it",
                accounts=[account.name for account in unsaved[:SHOWN_ACCOUNTS]],
                count=len(unsaved),
            )
        self._manager.stopping(longest)
        self._scope.cancel()

    def _end_at_once(self, number: signal.Signals) -> None:
        self._log.warning("ended at once", signal=number.name)
        self._last_words()
        # As whoever sent it expects; what a kill leaves behind, the next start mends.
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def _patience(account: Account) -> float:
    """Seconds that a refresh may take; discovery asks at two places first."""
    return account.timeout * (3 if account.token_url is None else 1)
