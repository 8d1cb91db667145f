"""What others may see of an account's refresher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from tokenrelay.sender.tokens import TokenSet

Phase = Literal["ok", "retrying", "login_needed", "lost_rotation", "stopped"]


@dataclass(frozen=True, slots=True)
class RefresherState:
    """A snapshot; times are Unix seconds."""

    token: TokenSet | None
    phase: Phase
    last_error: str | None
    last_refresh_at: float | None
    next_refresh_at: float | None
    refreshes: int
    failures: int
