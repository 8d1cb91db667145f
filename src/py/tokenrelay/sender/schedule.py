"""When to refresh next, how long to wait after a failure, how often at most. Pure functions and
values: seconds in, seconds out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenrelay.sender.clock import Clock

REFRESH_FRACTION = 5 / 6
JITTER_FRACTION = 1 / 60
LATEST_FRACTION = 0.95
LAST_TENTH = 0.1
LONGEST_SLEEP = 30.0
FIRST_BACKOFF, LONGEST_BACKOFF, BACKOFF_JITTER = 1.0, 60.0, 0.2
LONGEST_RETRY_AFTER = 86_400.0
# After an answer was lost: the same token again at these times since the loss was noticed.
BURST = (0.0, 0.2, 0.6, 1.4, 3.0, 6.0, 9.0)
SPARSE_BURST = (3.0, 9.0)  # of a gateway that goes on failing, so most likely hides no success
BURST_SECONDS = 10.0  # how long either goes on, and the wait for the next attempt after it
SHORTEST_DEADLINE = 2.0
BUDGETS = ((600.0, 10), (3600.0, 30))
FIRST_REQUEST_GAP, LONGEST_REQUEST_GAP = 60.0, 1800.0


@dataclass(frozen=True, slots=True)
class Instant:
    """One moment on both clocks."""

    wall: float
    boot: float

    @classmethod
    def now(cls, clock: Clock) -> Instant:
        return cls(clock.wall(), clock.boot())

    def since(self, start: Instant) -> float:
        """Seconds from ``start``, by the clock that says more: suspend and steps both count."""
        return max(self.wall - start.wall, self.boot - start.boot)


@dataclass(frozen=True, slots=True)
class Lease:
    """How long a token still lives and when to refresh it, counted from when we looked;
    ``lifetime`` is its whole life."""

    seen: Instant
    lifetime: float
    life: float
    due: float

    def left(self, now: Instant) -> float:
        """Seconds of validity left; not above 0 once it is over."""
        return self.life - now.since(self.seen)

    def until_due(self, now: Instant) -> float:
        """Seconds until the refresh is due; not above 0 once it is."""
        return self.due - now.since(self.seen)

    def until_last_tenth(self, now: Instant) -> float:
        """Seconds until only a tenth of the whole life is left."""
        return self.left(now) - LAST_TENTH * self.lifetime


def refresh_age(lifetime: float, refresh_every: float | None, chance: float) -> float:
    """The age at which a token of ``lifetime`` is refreshed; ``chance`` is in [0, 1)."""
    if refresh_every is not None:
        return min(refresh_every, lifetime * LATEST_FRACTION)
    return lifetime * (REFRESH_FRACTION - JITTER_FRACTION * chance)


def lease(
    now: Instant,
    *,
    expires_at: float,
    issued_at: float | None,
    default_lifetime: float,
    refresh_every: float | None,
    chance: float,
) -> Lease:
    """The lease of a token with these Unix times, seen at ``now``.

    A token from the future means that the clock was set back: its age is unknown, so it is due.
    """
    life = expires_at - now.wall
    if issued_at is None:
        lifetime = max(life, default_lifetime)
    else:
        lifetime = max(1.0, expires_at - issued_at)
    if life > lifetime:
        return Lease(now, lifetime, lifetime, 0.0)
    age = lifetime - life
    return Lease(now, lifetime, life, refresh_age(lifetime, refresh_every, chance) - age)


def sleep_for(seconds: float) -> float:
    """At most 30 s at once, should nobody tell of a suspend or of a clock that was set."""
    return min(max(seconds, 0.0), LONGEST_SLEEP)


def backoff(failures: int, chance: float) -> float:
    """The wait after the ``failures``-th failure in a row: 1, 2, 4 … 60 s, each ±20 %."""
    base = min(FIRST_BACKOFF * 2.0 ** min(failures - 1, 10), LONGEST_BACKOFF)
    return base * (1 + BACKOFF_JITTER * (2 * chance - 1))


def burst_delays(grace: float, *, sparse: bool = False) -> tuple[float, ...]:
    """Waits in seconds between the tries after a lost answer, within the provider's ``grace``
    seconds; ``sparse``: of a gateway that has failed for longer than a burst."""
    times = [at for at in (SPARSE_BURST if sparse else BURST) if at < grace]
    return tuple(at - before for before, at in zip([0.0, *times], times, strict=False))


def deadline(timeout: float, grace_left: float | None) -> float:
    """Seconds to wait for an answer: ``timeout``. One that is asked for again gets half of the
    ``grace_left``, so that yet another try fits in, should this one stall too; if none would, all
    the time it may have."""
    if grace_left is None or grace_left / 2 < SHORTEST_DEADLINE:
        return timeout
    return min(timeout, grace_left / 2)


def budget_wait(requests: Sequence[float], now: float, refresh_age: float) -> float:
    """Seconds until one more request is allowed, 0 if it is now.

    10 in 10 minutes and 30 in an hour, or twice what the token's own life demands. Once half of
    that is used, the rest is spread over the time, so that a provider that is back is not left
    alone until long after.
    """
    wait = 0.0
    for span, count in BUDGETS:
        limit = max(count, int(2 * span / max(refresh_age, 1.0)))
        recent = sorted(at for at in requests if now - span < at <= now)
        left = limit - len(recent)
        if left <= 0:
            wait = max(wait, recent[-limit] + span - now)
        elif left < limit / 2:
            gap = (recent[0] + span - recent[-1]) / (left + 1)
            wait = max(wait, recent[-1] + min(gap, refresh_age) - now)
    return wait


def parse_retry_after(text: str | None, now: float) -> float | None:
    """Seconds of a Retry-After header, RFC 9110 §10.2.3: a number, or an HTTP date."""
    if text is None:
        return None
    text = text.strip()
    if re.fullmatch(r"\d{1,12}", text, re.ASCII):
        return min(float(text), LONGEST_RETRY_AFTER)
    try:
        date = parsedate_to_datetime(text)
        at = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return min(max(at - now, 0.0), LONGEST_RETRY_AFTER)


@dataclass(frozen=True, slots=True)
class RequestPace:
    """How often receivers may cause a refresh: once in 60 s, then less and less while they keep
    asking, since a 401 may not be the token's fault."""

    at: float | None = None
    count: int = 0

    def wait(self, now: float) -> float:
        """Seconds until a request is followed again, 0 if it is now."""
        return 0.0 if self.at is None else max(0.0, self.at + self._gap() - now)

    def followed(self, now: float) -> RequestPace:
        """The pace after a request at ``now`` (boot seconds) was followed."""
        calm = self.at is None or now - self.at > 2 * self._gap()
        return RequestPace(now, 1 if calm else self.count + 1)

    def _gap(self) -> float:
        return min(FIRST_REQUEST_GAP * 2.0 ** min(self.count - 1, 10), LONGEST_REQUEST_GAP)
