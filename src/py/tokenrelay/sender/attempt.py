"""Spending a refresh token under the lock: intent on disk, one POST, the new token on disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
from anyio.to_thread import run_sync

from tokenrelay.sender.errors import VaultError
from tokenrelay.sender.journal import (
    Intent,
    Journal,
    Pause,
    Refusal,
    current_boot_id,
    pending_intent,
    recoverable,
)
from tokenrelay.sender.oauth_response import Kind, Outcome, TokenResponse
from tokenrelay.sender.schedule import BURST_SECONDS, burst_delays, deadline
from tokenrelay.sender.tokens import TokenSet, fingerprint, next_serial

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from tokenrelay.sender.clock import Clock, Sleep
    from tokenrelay.sender.config import Account
    from tokenrelay.sender.oauth import TokenEndpoint
    from tokenrelay.sender.turns import DiskTurns
    from tokenrelay.sender.vault import Transaction


@dataclass(frozen=True, slots=True)
class Spent:
    """How it ended: with ``token``, or with an outcome that explains why not. ``lost``: an
    earlier answer was lost and the refresh token has been replaced without us."""

    outcome: Outcome
    token: TokenSet | None = None
    lost: bool = False


class Spender:
    """Carries out refreshes for one account; keeps nothing between them but what is on disk."""

    def __init__(
        self,
        account: Account,
        endpoint: TokenEndpoint,
        *,
        disk: DiskTurns,
        clock: Clock,
        sleep: Sleep,
        log: FilteringBoundLogger,
    ) -> None:
        self._account, self._endpoint, self._disk = account, endpoint, disk
        self._clock, self._sleep, self._log = clock, sleep, log
        self.awaits_answer: bool = False
        """Whether a request is under way, from its intent to the saving of its answer."""

    async def spend(self, transaction: Transaction, *, serial_above: int) -> Spent:
        """Refreshes what the transaction holds; a lost answer is asked for again at once, within
        the provider's grace. VaultError: the disk refused before anything was spent."""
        grace = self._account.rotation_grace
        earlier = pending_intent(transaction.journal, transaction.token)
        first_burst = min(grace, BURST_SECONDS)
        still_failing = earlier is not None and earlier.age(self._clock) >= first_burst
        result = await self._try(transaction, serial_above)
        noticed = self._clock.boot()
        for delay in burst_delays(grace, sparse=still_failing and result.outcome.failed):
            if result.outcome.kind is not Kind.AMBIGUOUS or result.outcome.retry_after:
                break
            await self._sleep(delay)
            if self._clock.boot() - noticed >= grace:
                break
            result = await self._try(transaction, serial_above, again=True)
        if result.outcome.kind is Kind.AMBIGUOUS:
            await self._write_journal(transaction, transaction.journal)
        return result

    async def _try(
        self, transaction: Transaction, serial_above: int, *, again: bool = False
    ) -> Spent:
        earlier = pending_intent(transaction.journal, transaction.token)
        # An intent that is being written is followed by its request, whatever is cancelled.
        self.awaits_answer = True
        try:
            # Asked again, the intent is on disk. A slow disk must not use up the provider's grace.
            if not (again and earlier):
                await self._announce(transaction)
            # Cancelled between POST and commit, the login would be lost. The deadline bounds it.
            with anyio.CancelScope(shield=True):
                return await self._ask(transaction, serial_above, earlier, again=again)
        finally:
            self.awaits_answer = False
        raise RuntimeError("unreachable: a shield swallows nothing")

    async def _ask(
        self, transaction: Transaction, serial_above: int, earlier: Intent | None, *, again: bool
    ) -> Spent:
        current, began = transaction.token, self._clock.wall()
        outcome = await self._endpoint.refresh(
            current.refresh_token or "", deadline=self._deadline(earlier)
        )
        self._log.debug("asked", outcome=outcome.kind.value, detail=outcome.detail)
        if outcome.token is not None:
            token = self._renewed(current, outcome.token, began, serial_above)
            await self._commit(transaction, token)
            return Spent(outcome, token)
        await self._note(transaction, outcome, earlier, again=again)
        return Spent(outcome, lost=outcome.kind is Kind.REFUSED and earlier is not None)

    def _deadline(self, earlier: Intent | None) -> float:
        grace_left = self._account.rotation_grace - earlier.age(self._clock) if earlier else None
        return deadline(self._account.timeout, grace_left)

    async def _announce(self, transaction: Transaction) -> None:
        grace = self._account.rotation_grace
        urgent = recoverable(transaction.journal, transaction.token, grace, self._clock)
        turns = self._disk.answers if urgent else self._disk.intents
        try:
            await run_sync(self._write_intent, transaction, limiter=turns)
        except VaultError:
            # With a token in memory alone there is nothing left on disk to protect.
            if not transaction.unsaved:
                raise

    def _write_intent(self, transaction: Transaction) -> None:
        # In the thread: from here, not from before the wait for it, the grace is counted.
        transaction.prepare()
        current, journal = transaction.token, transaction.journal
        intent = pending_intent(journal, current) or self._intent(current)
        transaction.write_journal(journal.with_request(self._clock.wall()).replace(intent=intent))

    async def _commit(self, transaction: Transaction, token: TokenSet) -> None:
        try:
            await run_sync(transaction.commit, token, limiter=self._disk.answers)
        except VaultError as error:
            self._log.critical("token not saved", error=str(error), hint="free the disk: a crash "
                               "now loses the login")  # fmt: skip

    async def _note(
        self, transaction: Transaction, outcome: Outcome, earlier: Intent | None, *, again: bool
    ) -> None:
        """Leaves on disk what the next attempt, of whichever process, must know."""
        current = transaction.token
        if outcome.rescued not in (None, current.refresh_token):
            await self._commit(transaction, current.replace(refresh_token=outcome.rescued))
            self._log.warning(
                "new refresh token in an answer of no other use", saved=not transaction.unsaved
            )
        journal = transaction.journal
        if outcome.unsent and not again:
            journal = journal.without_last_request()
        journal = self._after(journal, outcome, earlier, current)
        if outcome.kind is not Kind.AMBIGUOUS or outcome.retry_after:
            await self._write_journal(transaction, journal)

    async def _write_journal(self, transaction: Transaction, journal: Journal) -> None:
        try:
            await run_sync(transaction.write_journal, journal, limiter=self._disk.answers)
        except VaultError as error:
            self._log.error("journal not written", error=str(error))

    def _after(
        self, journal: Journal, outcome: Outcome, earlier: Intent | None, token: TokenSet
    ) -> Journal:
        if outcome.retry_after:
            journal = journal.replace(pause=Pause(outcome.retry_after, *self._moment()))
        match outcome.kind:
            case Kind.REFUSED:
                mark = fingerprint(token.refresh_token or "")
                refusal = Refusal(mark, earlier is not None, outcome.detail)
                return journal.replace(intent=None, refusal=refusal)
            case Kind.UNDONE | Kind.MISCONFIGURED:
                return journal.replace(intent=earlier)
        return journal

    def _intent(self, token: TokenSet) -> Intent:
        mark = fingerprint(token.refresh_token or "")
        return Intent(mark, *self._moment())

    def _moment(self) -> tuple[float, float, str]:
        return self._clock.wall(), self._clock.boot(), current_boot_id()

    def _renewed(
        self, current: TokenSet, response: TokenResponse, began: float, serial_above: int
    ) -> TokenSet:
        """The next token. Its life counts from before the request; the login's times stay."""
        lifetime = response.expires_in or int(self._account.token_lifetime)
        return current.replace(
            access_token=response.access_token,
            expires_at=int(began) + lifetime,
            refresh_token=response.refresh_token or current.refresh_token,
            serial=next_serial(max(current.serial, serial_above), self._clock.wall()),
            issued_at=int(began),
            grant_expires_at=login_end(current, self._account),
            token_type="Bearer",  # noqa: S106
            scope=response.scope or current.scope,
            token_url=current.token_url or self._endpoint.endpoints.token_url,
            client_id=self._account.client_id,
        )


def login_end(token: TokenSet, account: Account) -> int | None:
    """When the login itself ends, Unix seconds: as stored, else counted from the login."""
    if token.grant_expires_at is not None or token.granted_at is None:
        return token.grant_expires_at
    return token.granted_at + int(account.login_lifetime) if account.login_lifetime else None
