"""Logins as other programs keep them, told apart by content: the plain form, schwab-py's JSON
``{"creation_timestamp", "token"}`` (schwab.auth.TokenMetadata, 1.5) and Schwabdev's SQLite
database (schwabdev.tokens, 3.0 and 4.0), encrypted with Fernet or not."""

from __future__ import annotations

import contextlib
import sqlite3
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from tokenrelay.sender.errors import SenderError
from tokenrelay.sender.tokens import FIRST_IMPOSSIBLE_SECOND, HiddenFields, TokenSet, is_token

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WANTED = 'one JSON object {"access_token": "…", "refresh_token": "…", "expires_at": UNIX_SECONDS}'
SQLITE_MAGIC = b"SQLite format 3\0"
ENCRYPTED = "enc:"
SCHWABDEV_QUERY = (
    "SELECT access_token, refresh_token, access_token_issued, refresh_token_issued, "
    "coalesce(expires_in, 1800), coalesce(token_type, 'Bearer'), coalesce(scope, 'api') "
    "FROM schwabdev LIMIT 1"
)


class _PlainLogin(HiddenFields, msgspec.Struct):
    access_token: str
    expires_at: int | float | None = None
    refresh_token: str | None = None
    issued_at: int | None = None
    granted_at: int | None = None
    grant_expires_at: int | None = None
    token_type: str = "Bearer"  # noqa: S105
    scope: str | None = None


class _SchwabPyFile(msgspec.Struct):
    token: _PlainLogin
    creation_timestamp: int | float


class _Keys(HiddenFields, msgspec.Struct):
    token: Any = None
    creation_timestamp: Any = None


def is_database(content: bytes) -> bool:
    """Whether the file that begins with ``content`` is for `read_database`."""
    return content.startswith(SQLITE_MAGIC)


def parse_login(content: bytes, name: str, *, default_expires_at: int | None = None) -> TokenSet:
    """The login in the plain form or in schwab-py's. SenderError says what is wrong with it."""
    try:
        login = _decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # A message of msgspec names keys and types, never a value.
        raise SenderError(f"{name}: {error}. It must be {WANTED}") from None
    fields: dict[str, Any] = msgspec.structs.asdict(login)
    fields["expires_at"] = fields["expires_at"] or default_expires_at
    if fields["expires_at"] is None:
        raise SenderError(f"{name}: expires_at is missing. It must be {WANTED}")
    return _checked(name, fields)


def read_database(path: Path, ask_key: Callable[[], str]) -> TokenSet:
    """The login in Schwabdev's database at ``path``, which is only read.

    ``ask_key`` is called where the tokens are encrypted, for the Fernet key. SenderError says
    what is wrong with the file or the key.
    """
    access, refresh, issued, granted, lifetime, token_type, scope = map(str, _row(path))
    if any(text.startswith(ENCRYPTED) for text in (access, refresh)):
        access, refresh = _decrypt(path, ask_key(), (access, refresh))
    try:
        issued_at, granted_at = _seconds(issued), _seconds(granted)
        expires_at = issued_at + int(lifetime)
    except ValueError:
        raise SenderError(f"{path}: the times in it are not as Schwabdev writes them") from None
    return _checked(
        str(path),
        {
            "access_token": access,
            "refresh_token": refresh or None,
            "issued_at": issued_at,
            "granted_at": granted_at,
            "expires_at": expires_at,
            "token_type": token_type,
            "scope": scope,
        },
    )


def _decode(content: bytes) -> _PlainLogin:
    keys = msgspec.json.decode(content, type=_Keys)
    if keys.token is None or keys.creation_timestamp is None:
        return msgspec.json.decode(content, type=_PlainLogin)
    file = msgspec.json.decode(content, type=_SchwabPyFile)
    return msgspec.structs.replace(file.token, granted_at=int(file.creation_timestamp))


def _checked(name: str, fields: dict[str, Any]) -> TokenSet:
    for key in ("access_token", "refresh_token"):
        if fields[key] is not None and not is_token(fields[key]):
            raise SenderError(f"{name}: {key} is empty, too long or holds a byte no token may have")
    for key in ("expires_at", "issued_at", "granted_at", "grant_expires_at"):
        if fields.get(key) is not None and not 0 < fields[key] < FIRST_IMPOSSIBLE_SECOND:
            raise SenderError(f"{name}: {key} is not in Unix seconds. Milliseconds? Divide by 1000")
    if fields["token_type"].lower() != "bearer":
        raise SenderError(f"{name}: token_type must be Bearer; no other kind can be sent")
    return TokenSet(**{**fields, "expires_at": int(fields["expires_at"])})


def _row(path: Path) -> tuple[Any, ...]:
    try:
        uri = f"{path.absolute().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as database:
            row: tuple[Any, ...] | None = database.execute(SCHWABDEV_QUERY).fetchone()
    except sqlite3.Error as error:
        raise SenderError(
            f"{path}: not readable as Schwabdev's database: {error}. Stop the program that uses it "
            "and try again"
        ) from None
    if row is None:
        raise SenderError(f"{path}: Schwabdev has no login in it. Log in: tokenrelay login")
    return row


def _decrypt(path: Path, key: str, texts: tuple[str, ...]) -> list[str]:
    from cryptography.fernet import Fernet, InvalidToken  # noqa: PLC0415 - 40 ms, rarely needed

    try:
        cipher = Fernet(key.strip())
    except ValueError:
        raise SenderError(
            "the key is no Fernet key: 32 bytes in URL-safe base64, as given to "
            "Schwabdev as encryption="
        ) from None
    try:
        return [_open(cipher.decrypt, text) for text in texts]
    except (InvalidToken, UnicodeDecodeError):
        raise SenderError(f"{path}: is encrypted with another key") from None


def _open(decrypt: Callable[[bytes], bytes], text: str) -> str:
    if not text.startswith(ENCRYPTED):
        return text
    return decrypt(text.removeprefix(ENCRYPTED).encode()).decode()


def _seconds(text: str) -> int:
    """Unix seconds of an ISO time; one without a zone is UTC, as Schwabdev takes it."""
    moment = datetime.fromisoformat(text)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
