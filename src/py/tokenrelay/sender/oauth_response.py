"""What an answer of the token endpoint means, and so what may be done next. Pure.

RFC 6749 §5.1 and §5.2, and what providers do beside them.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

import msgspec

from tokenrelay.sender.schedule import parse_retry_after
from tokenrelay.sender.tokens import fingerprint, is_token

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LONGEST_LIFETIME = 86_400
LONGEST_DETAIL = 200
LONGEST_SCOPE = 4_096

PASSING_ERRORS = frozenset({"temporarily_unavailable", "server_error", "internal_failure"})
CONFIGURATION_ERRORS = frozenset(
    {"invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_request",
     "invalid_scope"}
)  # fmt: skip
THROTTLING = re.compile(r"too.many.requests|rate.?limit|throttl|slow.?down", re.IGNORECASE)
# Schwab says so under the names of other errors.
DEAD_GRANT = re.compile(r"refresh_token_authentication_error|refresh token invalid", re.IGNORECASE)
WHOLE_REFRESH_TOKEN = re.compile(rb'"refresh_token"\s*:\s*"([\x21\x23-\x5b\x5d-\x7e]{1,16384})"')


class Kind(Enum):
    """What the provider did, as far as can be known."""

    GRANTED = "granted"
    UNDONE = "undone"  # it did nothing: try again later
    AMBIGUOUS = "ambiguous"  # it may have spent the refresh token
    REFUSED = "refused"  # it takes this refresh token no more
    MISCONFIGURED = "misconfigured"  # the request is wrong, and will be next time


@dataclass(frozen=True, slots=True)
class TokenResponse:
    """A granted token. ``expires_in`` is in seconds; None where the provider did not say."""

    access_token: str
    expires_in: int | None = None
    refresh_token: str | None = None
    scope: str | None = None

    def __repr__(self) -> str:
        return f"TokenResponse({fingerprint(self.access_token)}, expires_in={self.expires_in})"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The meaning of one try. ``detail`` is for people, after `presentable`; ``rescued`` is a
    refresh token that came in an answer of no other use; ``unsent``: nothing left this machine;
    ``failed``: it was answered, that it failed there (5xx, 408), if a gateway can know;
    ``error``: OAuth's own code for a refusal, whatever the status."""

    kind: Kind
    detail: str
    retry_after: float | None = None
    token: TokenResponse | None = None
    rescued: str | None = field(default=None, repr=False)
    unsent: bool = False
    failed: bool = False
    error: str | None = None


def classify(status: int, headers: Mapping[str, str], body: bytes | None, now: float) -> Outcome:
    """The outcome of an answer. ``headers`` have lower-case names; ``body`` is None where it was
    too long; ``now`` is Unix time, for Retry-After."""
    fields = parse_object(body)
    error = fields.get("error") if fields else None
    outcome = _classify(status, headers, body, fields, now)
    return replace(outcome, error=error) if isinstance(error, str) else outcome


def _classify(
    status: int,
    headers: Mapping[str, str],
    body: bytes | None,
    fields: dict[str, Any] | None,
    now: float,
) -> Outcome:
    rescued = _refresh_token(fields) if fields is not None else None
    retry_after = parse_retry_after(headers.get("retry-after"), now)
    if status == 200:
        return _success(fields, rescued, body)
    if status == 429:
        return Outcome(Kind.UNDONE, "too many requests (429)", retry_after, rescued=rescued)
    if 400 <= status < 500 and status != 408:
        return _client_error(status, fields, retry_after, rescued)
    detail = f"answer {status}" + (": redirects are not followed" if 300 <= status < 400 else "")
    return Outcome(Kind.AMBIGUOUS, detail, retry_after, rescued=rescued, failed=status >= 400)


def lost_answer(cause: str, *, sent: bool, status: int = 0, partial: bytes = b"") -> Outcome:
    """The outcome where no whole answer came; a refresh token in what did come is rescued."""
    if not sent:
        return Outcome(Kind.UNDONE, clean(cause), unsent=True)
    rescued = _rescue(partial) if status == 200 else None
    return Outcome(Kind.AMBIGUOUS, f"answer lost: {clean(cause)}", rescued=rescued)


def parse_object(body: bytes | None) -> dict[str, Any] | None:
    """The JSON object in ``body`` without its nulls, or None if it is anything else."""
    try:
        fields = msgspec.json.decode(body or b"", type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return {key: value for key, value in fields.items() if value is not None}


def clean(text: str) -> str:
    """A provider's text on one line, printable."""
    return "".join(c if c.isprintable() else " " for c in text).strip()


def presentable(outcome: Outcome, secrets: Iterable[str]) -> Outcome:
    """``outcome`` with a short detail without ``secrets``, which a provider may echo."""
    return replace(outcome, detail=presentable_text(outcome.detail, secrets))


def presentable_text(text: str, secrets: Iterable[str]) -> str:
    """A provider's text, short and on one line, without ``secrets``."""
    for secret in filter(None, secrets):
        text = text.replace(secret, "[redacted]")
    return clean(text)[:LONGEST_DETAIL]


def _success(fields: dict[str, Any] | None, rescued: str | None, body: bytes | None) -> Outcome:
    if fields is None:
        why = "over 64 KiB, or not decodable" if body is None else "no JSON object"
        saved = _rescue(body or b"")
        return Outcome(Kind.AMBIGUOUS, f"answer 200 of no use: {why}", rescued=saved)
    if cause := _unusable(fields):
        return Outcome(Kind.AMBIGUOUS, f"answer 200 of no use: {cause}", rescued=rescued)
    scope = fields.get("scope")
    token = TokenResponse(
        access_token=fields["access_token"],
        expires_in=_lifetime(fields.get("expires_in")),
        refresh_token=rescued,
        scope=scope if isinstance(scope, str) and len(scope) <= LONGEST_SCOPE else None,
    )
    return Outcome(Kind.GRANTED, "granted", token=token)


def _unusable(fields: dict[str, Any]) -> str | None:
    access, refresh = fields.get("access_token"), fields.get("refresh_token")
    kind = fields.get("token_type", "Bearer")
    if "error" in fields:
        return f"it holds an error: {_describe(fields)}"
    if not isinstance(access, str) or not is_token(access):
        return "access_token is missing, or not 1 to 16384 bytes of 0x21-0x7E"
    if not isinstance(kind, str) or kind.lower() != "bearer":
        return "token_type is not Bearer"
    if refresh not in (None, "") and _refresh_token(fields) is None:
        return "refresh_token is not 1 to 16384 bytes of 0x21-0x7E"
    return None


def _client_error(
    status: int, fields: dict[str, Any] | None, retry_after: float | None, rescued: str | None
) -> Outcome:
    # Without OAuth's own words it is some gateway speaking: no verdict on the login.
    error = fields.get("error") if fields else None
    if fields is None or not isinstance(error, str):
        return Outcome(Kind.UNDONE, f"answer {status} without an OAuth error", retry_after)
    detail = f"answer {status}: {_describe(fields)}"
    words = f"{error} {fields.get('error_description', '')}"
    if error == "invalid_grant" or DEAD_GRANT.search(words):
        return Outcome(Kind.REFUSED, detail, rescued=rescued)
    if error in PASSING_ERRORS or THROTTLING.search(words):
        return Outcome(Kind.UNDONE, detail, retry_after, rescued=rescued)
    if error in CONFIGURATION_ERRORS:
        return Outcome(Kind.MISCONFIGURED, detail, retry_after, rescued=rescued)
    return Outcome(Kind.UNDONE, detail, retry_after, rescued=rescued)


def _refresh_token(fields: dict[str, Any]) -> str | None:
    token = fields.get("refresh_token")
    return token if isinstance(token, str) and is_token(token) else None


def _rescue(body: bytes) -> str | None:
    match = WHOLE_REFRESH_TOKEN.search(body) if body.lstrip().startswith(b"{") else None
    return match[1].decode("ascii") if match else None


def _lifetime(value: Any) -> int | None:
    if isinstance(value, str) and re.fullmatch(r"\d{1,18}", value, re.ASCII):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return min(int(value), LONGEST_LIFETIME) if value >= 1 else None


def _describe(fields: dict[str, Any]) -> str:
    error, description = fields.get("error"), fields.get("error_description")
    parts = [text for text in (error, description) if isinstance(text, str) and text]
    return clean(": ".join(parts)) or "an error without a name"
