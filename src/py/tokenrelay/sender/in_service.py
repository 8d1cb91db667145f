"""The token in service: what receivers are given, how long it is good for, when it is due."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenrelay.sender import schedule
from tokenrelay.sender.attempt import login_end
from tokenrelay.sender.logs import redactor
from tokenrelay.sender.schedule import Instant, Lease
from tokenrelay.sender.tokens import TokenSet, next_serial

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from structlog.typing import FilteringBoundLogger

    from tokenrelay.sender.clock import Clock
    from tokenrelay.sender.config import Account


class InService:
    """One account's token, none at first. Belongs to the event loop's thread.

    ``publish`` gets each token held, as long as it is valid. It must not block.
    """

    def __init__(
        self,
        account: Account,
        *,
        publish: Callable[[TokenSet], None],
        clock: Clock,
        random: Random,
        log: FilteringBoundLogger,
    ) -> None:
        self._account, self._publish = account, publish
        self._clock, self._random, self._log = clock, random, log
        self.token: TokenSet | None = None
        self.lease: Lease | None = None
        self._stored_serial = 0  # a receiver may have raised the token's own

    @property
    def serial(self) -> int:
        """That of the token, 0 where there is none."""
        return self.token.serial if self.token else 0

    def differs(self, stored: TokenSet) -> bool:
        """Whether ``stored`` is another token than this one."""
        own = self.token
        if own is None:
            return True
        return (stored.access_token, stored.refresh_token) != (own.access_token, own.refresh_token)

    def newer_than(self, stored: TokenSet) -> TokenSet | None:
        """The token, if ``stored`` is an earlier one of the same login: a copy put back."""
        own = self.token
        if own is None or own.granted_at != stored.granted_at:
            return None
        if own.issued_at is None or stored.issued_at is None:
            return None
        if own.refresh_token is None or stored.refresh_token is None:
            return None  # of a damaged file's last good copy, or after a logout
        # Both: the clock may have been set back between two refreshes.
        newer = own.issued_at > stored.issued_at and self._stored_serial > stored.serial
        return own if newer else None

    def hold(self, stored: TokenSet) -> Lease:
        """Put ``stored`` in service, and return its lease."""
        token = self._completed(stored)
        for secret in (token.access_token, token.refresh_token):
            redactor.register(secret, owner=self._account.name)
        lease = schedule.lease(
            Instant.now(self._clock),
            expires_at=token.expires_at,
            issued_at=token.issued_at,
            default_lifetime=self._account.token_lifetime,
            refresh_every=self._account.refresh_every,
            chance=self._random.random(),
        )
        self.token, self.lease, self._stored_serial = token, lease, stored.serial
        self._log.info("token in service", serial=token.serial, expires_at=token.expires_at)
        self._publish_valid()
        return lease

    def raise_serial(self, floor: int) -> None:
        """A receiver holds a token of serial ``floor``: ours is published again above it."""
        if self.token is not None and self.token.serial <= floor:
            self._log.warning("serial raised: the token file was older than a receiver")
            self.token = self.token.replace(serial=next_serial(floor, self._clock.wall()))
            self._publish_valid()

    def _completed(self, token: TokenSet) -> TokenSet:
        """With what an imported file lacks: a serial, the end of the login."""
        serial = token.serial or next_serial(self.serial, self._clock.wall())
        return token.replace(serial=serial, grant_expires_at=login_end(token, self._account))

    def _publish_valid(self) -> None:
        if self.token and self.lease and self.lease.left(Instant.now(self._clock)) > 0:
            self._publish(self.token)
