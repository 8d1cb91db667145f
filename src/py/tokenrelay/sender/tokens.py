"""The token set: what a provider granted and when. Its text forms never show a secret."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import Any

MAXIMUM_TOKEN_BYTES = 16_384
FIRST_IMPOSSIBLE_SECOND = 10**11
MAXIMUM_SERIAL = 2**53 - 1
# What counts milliseconds or microseconds is below it. Beyond, too few serials may be left to
# issue, and one receiver's would become that of all.
HIGHEST_SERIAL_FOLLOWED = 2**52


def fingerprint(secret: str) -> str:
    """First 8 hex digits of the SHA-256, to tell secrets apart without showing them."""
    return hashlib.sha256(secret.encode()).hexdigest()[:8]


def next_serial(previous: int, wall: float) -> int:
    """The serial after ``previous`` at Unix time ``wall``: grows even if the clock goes back.

    Where no receiver takes a higher one, the order begins anew with the clock.
    """
    milliseconds = int(wall * 1000)
    return milliseconds if previous >= MAXIMUM_SERIAL else max(previous + 1, milliseconds)


def is_token(text: str) -> bool:
    """1 to 16,384 bytes, each 0x21-0x7E, so that no token can break a header or a frame."""
    return 1 <= len(text) <= MAXIMUM_TOKEN_BYTES and all("\x21" <= c <= "\x7e" for c in text)


class Secret:
    """A secret that shows itself only when asked by name."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return f"Secret({fingerprint(self._value)})"

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled")


class HiddenFields:
    """Base of records of secrets whose text form shows no field at all. `TokenSet` and
    `TokenResponse` show fingerprints instead, since logs have to tell tokens apart."""

    __slots__ = ()

    def __repr__(self) -> str:
        return object.__repr__(self)


@dataclass(frozen=True, slots=True, repr=False)
class TokenSet:
    """One answer of the provider. Times are Unix seconds; ``serial`` is the order of issue."""

    access_token: str
    expires_at: int
    refresh_token: str | None = None
    serial: int = 0
    issued_at: int | None = None
    granted_at: int | None = None
    grant_expires_at: int | None = None
    token_type: str = "Bearer"  # noqa: S105
    scope: str | None = None
    token_url: str | None = None
    client_id: str | None = None

    def replace(self, **changes: Any) -> TokenSet:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def __repr__(self) -> str:
        refresh = fingerprint(self.refresh_token) if self.refresh_token else None
        return (
            f"TokenSet(access={fingerprint(self.access_token)}, refresh={refresh}, "
            f"serial={self.serial}, expires_at={self.expires_at}, granted_at={self.granted_at})"
        )


def describe_token(token: TokenSet) -> dict[str, Any]:
    """What may be shown of a token."""
    return {
        "fingerprint": fingerprint(token.access_token),
        "expires_at": token.expires_at,
        "serial": token.serial,
        "issued_at": token.issued_at,
    }
