"""One login at a provider that is as strict as the strictest: rotation, reuse detection, grace."""

from __future__ import annotations

import re
from dataclasses import dataclass

REFRESH_TOKEN = re.compile(r"refresh-(?P<login>\w+)-(?P<number>\d{8})")


@dataclass(slots=True)
class Login:
    """Every refresh replaces the refresh token; the one before is taken for ``grace`` seconds
    more, as long as its successor was not used, and then the successor is void. Anything else
    twice revokes the login (RFC 9700 §4.14.2)."""

    name: str
    grace: float
    newest: int = 0
    replaced: int = -1
    replaced_at: float = 0.0
    requests: int = 0
    reuses: int = 0
    revoked: bool = False

    def refresh(self, refresh_token: str, now: float) -> bool:
        """Whether it is granted; then ``newest`` is the number of the new token."""
        self.requests += 1
        sent = number_of(refresh_token)
        again = sent == self.replaced and now - self.replaced_at < self.grace
        if sent != self.newest and not again:
            self.reuses += 1
            self.revoked = True
        if self.revoked:
            return False
        if not again:
            self.replaced, self.replaced_at = self.newest, now
        self.newest += 1
        return True

    def tokens(self) -> dict[str, object]:
        """The newest pair, as in RFC 6749 §5.1; its size never changes."""
        return {
            "access_token": f"access-{self.name}-{self.newest:08}",
            "token_type": "Bearer",
            "expires_in": 1800,
            "refresh_token": f"refresh-{self.name}-{self.newest:08}",
        }


def number_of(text: str) -> int:
    """The number of the refresh token in ``text``; -1 where there is none."""
    found = REFRESH_TOKEN.search(text)
    return int(found["number"]) if found else -1


def login_of(text: str) -> str:
    """The name of the login whose refresh token is in ``text``; empty where there is none."""
    found = REFRESH_TOKEN.search(text)
    return found["login"] if found else ""
