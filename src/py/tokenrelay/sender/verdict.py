"""What may be asked of the provider now, and what its answer means for the account. Pure: each
function returns the error to raise, or None."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenrelay.sender import schedule
from tokenrelay.sender.errors import ConfigurationError, LoginNeeded, RefreshFailed, SenderError
from tokenrelay.sender.journal import pending_intent
from tokenrelay.sender.oauth_response import Kind
from tokenrelay.sender.tokens import fingerprint

if TYPE_CHECKING:
    from tokenrelay.sender.attempt import Spent
    from tokenrelay.sender.config import Account
    from tokenrelay.sender.journal import Journal
    from tokenrelay.sender.schedule import Instant, Lease
    from tokenrelay.sender.tokens import TokenSet


def never_allowed(account: Account, token: TokenSet, pause: float) -> SenderError | None:
    """Why ``token`` cannot be refreshed now, even if somebody asks for it. ``pause`` is what is
    left of the provider's Retry-After, in seconds."""
    if token.refresh_token is None:
        return LoginNeeded.of(account.name, "the token file holds no refresh token")
    if pause > 0:
        return RefreshFailed(f"{account.name}: the provider asked to wait {pause:.0f} s", pause)
    return None


def not_by_itself(
    account: Account,
    journal: Journal,
    token: TokenSet,
    lease: Lease,
    now: Instant,
    *,
    urgent: bool,
) -> SenderError | None:
    """Why the sender does not refresh ``token`` now of its own accord. ``urgent``: an answer was
    lost that can still be asked for again, but only for seconds."""
    refusal = journal.refusal
    if refusal and refusal.fingerprint == fingerprint(token.refresh_token or ""):
        return refused(account, refusal.detail, lost=refusal.lost_rotation)
    age = schedule.refresh_age(lease.lifetime, account.refresh_every, 0.0)
    if not urgent and (wait := schedule.budget_wait(journal.requests, now.wall, age)):
        return RefreshFailed(f"{account.name}: asked often enough; pausing {wait:.0f} s", wait)
    wait = lease.until_last_tenth(now)
    if wait > 0 and not account.rotation_grace and pending_intent(journal, token):
        # If the provider did replace it, asking again ends the access token too.
        return RefreshFailed(
            f"{account.name}: an answer was lost and the provider has no grace; "
            f"asking again in {wait:.0f} s",
            wait,
        )
    return None


def failure(account: Account, spent: Spent) -> SenderError:
    """What an attempt that brought no token means."""
    outcome = spent.outcome
    match outcome.kind:
        case Kind.REFUSED:
            return refused(account, outcome.detail, lost=spent.lost)
        case Kind.MISCONFIGURED:
            return ConfigurationError(
                f"{account.name}: {outcome.detail}. Check client_id, client_secret, client_auth "
                "and the endpoints of this account"
            )
    wait = outcome.retry_after
    if wait is None and outcome.kind is Kind.AMBIGUOUS:
        # As long as it was just asked again and again, while a grace that is longer still runs.
        wait = min(account.rotation_grace, schedule.BURST_SECONDS)
    return RefreshFailed(f"{account.name}: {outcome.detail}", wait)


def refused(account: Account, detail: str, *, lost: bool) -> LoginNeeded:
    """The provider takes the refresh token no more: revoked, or replaced in an answer we lost."""
    cause = f"the provider takes the refresh token no more ({detail})"
    if lost:
        cause = f"a lost answer of the provider had replaced the refresh token, and now {cause}"
    return LoginNeeded.of(account.name, cause, lost_rotation=lost)
