"""The demo's OAuth provider: short tokens, refresh tokens that rotate and die if used twice."""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class _Access:
    login: int
    expires_at: float


class Provider:
    """Issues opaque tokens and judges them. Every method may be called from any thread.

    A refresh token works once. Its second use revokes all that came from the same login (RFC 9700
    §4.14.2), as a provider does that takes it for stolen. An access token lives until its own
    expiry, also when there is a newer one.
    """

    def __init__(self, lifetime: int, *, wall: Callable[[], float] = time.time) -> None:
        self.lifetime = lifetime
        self._wall = wall
        self._lock = threading.Lock()
        self._logins = 0
        self._access: dict[str, _Access] = {}
        self._refresh: dict[str, int] = {}
        self._spent: dict[str, int] = {}
        self._revoked: set[int] = set()

    def log_in(self) -> dict[str, Any]:
        """The first token pair of a new login, as an RFC 6749 §5.1 answer."""
        with self._lock:
            self._logins += 1
            return self._issue(self._logins)

    def refresh(self, refresh_token: str) -> dict[str, Any] | None:
        """The next token pair; None is ``invalid_grant``."""
        with self._lock:
            if refresh_token in self._spent:
                self._revoked.add(self._spent[refresh_token])
            login = self._refresh.pop(refresh_token, None)
            if login is None or login in self._revoked:
                return None
            self._spent[refresh_token] = login
            return self._issue(login)

    def refusal(self, access_token: str) -> str | None:
        """Why the API must refuse this token; None where it must not."""
        with self._lock:
            access = self._access.get(access_token)
            if access is None:
                return "unknown"
            if access.login in self._revoked:
                return "revoked"
            return "expired" if access.expires_at <= self._wall() else None

    def _issue(self, login: int) -> dict[str, Any]:
        access, refresh = (secrets.token_urlsafe(48) for _ in range(2))
        self._access[access] = _Access(login, self._wall() + self.lifetime)
        self._refresh[refresh] = login
        return {
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": self.lifetime,
            "refresh_token": refresh,
        }
