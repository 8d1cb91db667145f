"""When to warn that a login ends. Pure: times come in as Unix seconds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from tokenrelay.sender.config_values import parse_weekly

if TYPE_CHECKING:
    from datetime import tzinfo

    from tokenrelay.sender.config import Account
    from tokenrelay.sender.tokens import TokenSet

WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class WarningPlan:
    """The end of one login and the moments before it at which to warn, earliest first."""

    end: float
    moments: tuple[float, ...]

    def due(self, now: float) -> float | None:
        """The newest moment that has come, or None."""
        return max((moment for moment in self.moments if moment <= now), default=None)


def plan_warnings(
    end: float,
    *,
    granted_at: float | None,
    before: tuple[float, ...],
    weekly: tuple[str, ...] = (),
    zone: tzinfo | None = None,
) -> WarningPlan:
    """When to warn of ``end``: ``before`` seconds ahead, and at the last of each weekly time that
    the login still reaches. None before the login itself. ``zone``: None is the machine's."""
    moments = {end - span for span in before} | {last_weekly(text, end, zone) for text in weekly}
    first = granted_at if granted_at is not None else 0.0
    return WarningPlan(end, tuple(sorted(moment for moment in moments if moment >= first)))


def last_weekly(text: str, end: float, zone: tzinfo | None = None) -> float:
    """The last time of the week ``text`` ("Sun 18:00") not after ``end``."""
    weekday, hour, minute = parse_weekly(text)
    local = datetime.fromtimestamp(end, zone)
    days = (local.weekday() - weekday) % 7
    found = (local - timedelta(days=days)).replace(
        hour=hour, minute=minute, second=0, microsecond=0, fold=0
    )
    # The wall clock's week, not 604,800 s: summer time ends on a Sunday.
    return (found if found.timestamp() <= end else found - WEEK).timestamp()


def plan_for(account: Account, token: TokenSet, end: float | None) -> WarningPlan | None:
    """The plan for the login behind ``token``; None where its end is not known."""
    if end is None:
        return None
    return plan_warnings(
        end,
        granted_at=token.granted_at,
        before=account.warn_before_login_ends,
        weekly=account.warn_at,
    )


def describe(account: str, plan: WarningPlan | None, now: float) -> str | None:
    """What a user must know of the login now, with the command to type; None: nothing."""
    if plan is None or (now < plan.end and plan.due(now) is None):
        return None
    when = datetime.fromtimestamp(plan.end).astimezone().strftime("%a %Y-%m-%d %H:%M %Z")
    state = "ends" if now < plan.end else "ended"
    return f"{account}: the login {state} on {when}. Log in again: tokenrelay login {account}"
