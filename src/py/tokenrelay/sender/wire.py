"""The wire, version 1, as the sender speaks it: frames out, replies in. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import msgspec

from tokenrelay.sender.tokens import FIRST_IMPOSSIBLE_SECOND, MAXIMUM_SERIAL, TokenSet, is_token

MAXIMUM_FRAME_BYTES = 65_536
MAXIMUM_REPLY_BYTES = 4_096


@dataclass(frozen=True, slots=True)
class Accepted:
    """The receiver holds the token as its publication number ``generation``."""

    generation: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The receiver kept what it had; ``serial`` is the one it holds, where it says so."""

    code: str
    detail: str
    serial: int | None


@dataclass(frozen=True, slots=True)
class RefreshRequest:
    """The API refused the token of this serial."""

    serial: int


def encode(
    token: TokenSet, *, account: str | None = None, include_refresh_token: bool = False
) -> bytes:
    """One frame with its newline. ValueError where a receiver would refuse it."""
    _check_token("access token", token.access_token)
    if not 0 < token.expires_at < FIRST_IMPOSSIBLE_SECOND:
        raise ValueError(f"expires_at is not in Unix seconds: {token.expires_at}")
    if not _is_count(token.serial):
        raise ValueError(f"serial is out of range, 0 to 2^53-1: {token.serial}")
    fields: dict[str, Any] = {
        "access_token": token.access_token,
        "token_type": token.token_type,
        "expires_at": token.expires_at,
        "serial": token.serial or None,
        "issued_at": token.issued_at,
        "grant_expires_at": token.grant_expires_at,
        "scope": token.scope,
        "account": account,
    }
    if include_refresh_token and token.refresh_token:
        _check_token("refresh token", token.refresh_token)
        fields["refresh_token"] = token.refresh_token
    return _line({key: value for key, value in fields.items() if value is not None})


def encode_bare(access_token: str) -> bytes:
    """A bare token: one-shot, answered and closed. ValueError for ``{`` at its start."""
    _check_token("access token", access_token)
    if access_token.startswith("{"):
        raise ValueError("a bare token cannot begin with '{': send it as JSON")
    return access_token.encode("ascii") + b"\n"


def encode_refresh_refused(reason: str) -> bytes:
    """The answer to a refresh request that will not be followed."""
    return _line({"refresh": "refused", "reason": reason})


def parse_reply(line: bytes) -> Accepted | Refused | RefreshRequest:
    """What a receiver says, one line without limit checks. ValueError for anything else."""
    try:
        reply = msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ValueError("not a reply: no JSON object") from None
    match reply:
        case {"ok": True, "generation": int(generation)} if _is_count(generation):
            return Accepted(generation)
        case {"ok": False, "error": str(code)}:
            return _refused(code, reply)
        case {"request": "refresh", "serial": int(serial)} if _is_count(serial):
            return RefreshRequest(serial)
    raise ValueError("not a reply of protocol version 1")


def _refused(code: str, reply: dict[str, Any]) -> Refused:
    detail, serial = reply.get("detail", ""), reply.get("serial")
    if not isinstance(detail, str) or not (serial is None or _is_count(serial)):
        raise ValueError("not a reply of protocol version 1: wrong type")
    return Refused(code, detail, serial)


def _is_count(value: object) -> bool:
    if not isinstance(value, int) or isinstance(value, bool):
        return False
    return 0 <= value <= MAXIMUM_SERIAL


def _check_token(what: str, text: str) -> None:
    if not is_token(text):
        raise ValueError(f"{what}: not 1 to 16384 bytes of 0x21-0x7E")


def _line(fields: dict[str, Any]) -> bytes:
    # ensure_ascii keeps the frame ASCII whatever a scope holds, lone surrogates included.
    line = json.dumps(fields, separators=(",", ":")).encode("ascii") + b"\n"
    if len(line) > MAXIMUM_FRAME_BYTES:
        raise ValueError(f"frame of {len(line)} bytes: the limit is {MAXIMUM_FRAME_BYTES}")
    return line
