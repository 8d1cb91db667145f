"""The token file: one login, replaced atomically and durably, changed only under its lock.

Beside ``NAME`` are ``NAME.lock``, ``NAME.journal`` (see `journal`) and ``NAME.prev``, the last
good content without the refresh token, so that a damaged file does not look like a logout.
"""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from shlex import quote
from typing import TYPE_CHECKING, Any

import msgspec

from tokenrelay.sender import vault_files as files
from tokenrelay.sender.errors import TokenFileDamaged, TokenFileSealed, VaultError
from tokenrelay.sender.journal import Journal, decode_journal, encode_journal
from tokenrelay.sender.sealing import Seal, SealError, is_sealed
from tokenrelay.sender.tokens import (
    FIRST_IMPOSSIBLE_SECOND,
    MAXIMUM_SERIAL,
    HiddenFields,
    TokenSet,
    is_token,
    next_serial,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tokenrelay.sender.config import Account

DEFAULT_LOCK_TIMEOUT = 30.0


class _Schema(HiddenFields, msgspec.Struct, forbid_unknown_fields=True):
    """The file's keys, in the order they are written."""

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


class Vault:
    """The token file of one account. ``token_url`` and ``client_id`` bind it to its provider:
    a file of another is refused; None is not checked. With ``seal`` what is written is encrypted,
    and what is not yet is read all the same. Safe between processes, not threads."""

    def __init__(
        self,
        path: Path,
        *,
        token_url: str | None = None,
        client_id: str | None = None,
        seal: Seal | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.path: Path = path
        self._seal = seal
        self._token_url, self._client_id, self._wall = token_url, client_id, wall
        # What is stored, what the disk refused to store in its place, and whether that is new.
        self._unsaved: tuple[TokenSet | None, TokenSet, bool] | None = None
        self._lock, self._journal, self._previous = (
            path.with_name(path.name + suffix) for suffix in (".lock", ".journal", ".prev")
        )

    @classmethod
    def of(cls, account: Account) -> Vault:
        """The account's vault, as configured."""
        return cls(
            account.token_file,
            token_url=account.token_url,
            client_id=account.client_id,
            seal=Seal(account.encrypt, account.name) if account.encrypt else None,
        )

    def load(self) -> TokenSet | None:
        """What is stored; None where there is no file. VaultError: unusable, and left alone."""
        content = files.read_private(self.path)
        return None if content is None else self._decode(self.path, content)

    def load_previous(self) -> TokenSet | None:
        """The last good content without its refresh token, or None."""
        try:
            content = files.read_private(self._previous)
            return None if content is None else self._decode(self._previous, content)
        except VaultError:
            return None

    @property
    def lacks_key(self) -> bool:
        """Whether what is written is to be encrypted, and `fetch_key` has not succeeded yet."""
        return self._seal is not None and not self._seal.has_key

    @property
    def locked(self) -> bool:
        """Whether what is stored is encrypted, and `load` would have to fetch the key."""
        return self.lacks_key and (_holds_sealed(self.path) or _holds_sealed(self._previous))

    def fetch_key(self, *, create: bool) -> None:
        """Fetches the key, where one is needed, before a token is spent; ``create``: has a keyring
        without one keep a new one. May wait for somebody who unlocks it. TokenFileSealed: it cannot
        be had."""
        try:
            if self._seal is not None:
                self._seal.fetch(create=create)
        except SealError as error:
            raise TokenFileSealed(self.path, str(error)) from None

    def load_journal(self) -> Journal:
        """What is known of attempts; empty where nothing, or nothing legible, is stored."""
        try:
            content = files.read_private(self._journal)
            return Journal() if content is None else decode_journal(content)
        except (VaultError, ValueError):
            return Journal()

    def version(self) -> tuple[int, int, int] | None:
        """Changes whenever the file is replaced; cheap."""
        try:
            status = self.path.lstat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_ctime_ns

    def store(self, token: TokenSet, *, timeout: float = DEFAULT_LOCK_TIMEOUT) -> TokenSet:
        """Saves a new login or import and returns it as saved, its serial above the old one.

        A file that cannot be read is set aside first, as ``NAME.bad``.
        """
        self.fetch_key(create=True)  # before a file is set aside
        with self._locked(timeout):
            try:
                old = self.load()
            except VaultError:
                files.set_aside(self.path)
                old = None
            serial = max(next_serial(old.serial if old else 0, self._wall()), token.serial)
            saved = self._bound(token.replace(serial=serial))
            transaction = Transaction(self, old, self.load_journal())
            transaction.prepare()
            transaction.commit(saved)
        return saved

    @property
    def unsaved(self) -> bool:
        """Whether a new token is in memory alone: the disk refused it, or is just taking it."""
        return self._unsaved is not None

    def put_back(self, token: TokenSet, *, instead_of: TokenSet) -> None:
        """Stores ``token`` once more, where an older copy of the file is now. VaultError: it cannot
        be done now."""
        with self.transaction(timeout=0) as transaction:
            if transaction.unsaved or transaction.current == instead_of:
                transaction.put_back(token)

    def save_unsaved(self, *, timeout: float = DEFAULT_LOCK_TIMEOUT) -> None:
        """Tries once more to store it; VaultError, or VaultBusy, where that failed again."""
        with self.transaction(timeout=timeout) as transaction:
            if transaction.unsaved and self._unsaved:
                transaction.replace(transaction.token, new=self._unsaved[2])

    @contextmanager
    def transaction(self, *, timeout: float = DEFAULT_LOCK_TIMEOUT) -> Iterator[Transaction]:
        """The only way to spend a refresh token: alone on this machine, on what is stored now.

        VaultBusy if another process has not finished within ``timeout`` seconds.
        """
        with self._locked(timeout):
            transaction = self._begin()
            try:
                yield transaction
            finally:
                transaction.discard()

    @contextmanager
    def _locked(self, timeout: float) -> Iterator[None]:
        files.prepare_directory(self.path)
        with files.locked(self._lock, timeout=timeout):
            yield

    def _begin(self) -> Transaction:
        """A transaction on what is stored, or on what the disk refused to store in its place."""
        stored, unsaved = self.load(), self._unsaved
        transaction = Transaction(self, stored, self.load_journal())
        if unsaved is None or unsaved[0] != stored:
            self._unsaved = None  # a login stored meanwhile wins
        else:
            with suppress(VaultError):
                transaction.replace(unsaved[1], new=unsaved[2])
        return transaction

    def _bound(self, token: TokenSet) -> TokenSet:
        return token.replace(
            token_url=token.token_url or self._token_url,
            client_id=token.client_id or self._client_id,
        )

    def _decode(self, path: Path, content: bytes) -> TokenSet:
        if is_sealed(content):
            content = self._unseal(path, content)
        try:
            stored = msgspec.json.decode(content, type=_Schema)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise TokenFileDamaged(path, _schema_cause(path, content, error)) from None
        token = TokenSet(**msgspec.structs.asdict(stored))
        if cause := _content_cause(token):
            raise TokenFileDamaged(
                path, f"{cause}. It was left as it is; log in again to replace it"
            )
        for key, own in (("token_url", self._token_url), ("client_id", self._client_id)):
            if own is not None and getattr(token, key) not in (None, own):
                raise TokenFileDamaged(
                    path, f"was granted for another {key}: {getattr(token, key)}. Give this "
                    "account another token_file, or log in again")  # fmt: skip
        return self._bound(token)

    def _unseal(self, path: Path, content: bytes) -> bytes:
        if self._seal is None:
            raise VaultError(path, "encrypted: set encrypt to where its key is kept")
        try:
            return self._seal.open(content)
        except SealError as error:
            raise VaultError(path, str(error)) from None

    def _encode(self, token: TokenSet) -> bytes:
        content = encode_token(token)
        return content if self._seal is None else self._seal.close(content)

    def _write_journal(self, journal: Journal) -> None:
        files.write_private(self._journal, encode_journal(journal))

    def _write_previous(self, token: TokenSet) -> None:
        files.write_private(self._previous, self._encode(token.replace(refresh_token=None)))


class Transaction:
    """What one process may do while it holds the lock. `prepare`, `write_journal`, then spend,
    then `commit`: in this order a crash at any point loses nothing that a retry cannot repair."""

    def __init__(self, vault: Vault, current: TokenSet | None, journal: Journal) -> None:
        self.current: TokenSet | None = current
        self.journal: Journal = journal
        self.unsaved: bool = False
        self._vault, self._stored, self._written = vault, current, journal
        self._prepared: files.PreparedFile | None = None

    @property
    def token(self) -> TokenSet:
        """``current``, or VaultError where there is none."""
        if self.current is None:
            raise VaultError(self._vault.path, "no such file: tokenrelay login, or import")
        return self.current

    def prepare(self) -> None:
        """Reserves name and space of the next token file; VaultError before anything is spent."""
        self.discard()
        self._vault.fetch_key(create=True)
        self._prepared = files.PreparedFile(self._vault.path)

    def write_journal(self, journal: Journal) -> None:
        """Makes the journal durable; it is the transaction's from then on."""
        if journal != self._written:
            self._vault._write_journal(journal)
        self.journal = self._written = journal

    def commit(self, token: TokenSet) -> None:
        """Replaces the token file durably; then the intent and refusals are history.

        VaultError: the old file may still be there, ``current`` is already the new token and
        ``unsaved`` is true: keep the lock and commit again. The vault remembers the token, so
        that the spent one on file is not taken for good by a later transaction.
        """
        self.replace(token, new=True)

    def put_back(self, token: TokenSet) -> None:
        """As `commit`, of a token that was stored before: what is known of attempts with its
        refresh token stays so."""
        self.replace(token, new=False)

    def discard(self) -> None:
        """Gives back what `prepare` reserved."""
        if self._prepared is not None:
            self._prepared.discard()
            self._prepared = None

    def replace(self, token: TokenSet, *, new: bool) -> None:
        """`commit` of a ``new`` token, or `put_back`."""
        self.current, self.unsaved = token, True
        self._vault._unsaved = self._stored, token, new
        content = self._vault._encode(token)
        prepared, self._prepared = self._prepared, None
        if prepared is None:
            prepared = files.PreparedFile(self._vault.path)
        prepared.commit(content)
        self.unsaved, self._stored, self._vault._unsaved = False, token, None
        if new:
            self._settle(token)

    def _settle(self, token: TokenSet) -> None:
        # The login is safe by now; what these files lose costs nothing but comfort.
        try:
            self.write_journal(self.journal.replace(intent=None, refusal=None, pause=None))
            self._vault._write_previous(token)
        except VaultError:
            pass


def encode_token(token: TokenSet) -> bytes:
    """The token file's content: JSON, one key a line, absent values left out."""
    stored: dict[str, Any] = {
        key: value
        for key in _Schema.__struct_fields__
        if (value := getattr(token, key)) is not None
    }
    return msgspec.json.format(msgspec.json.encode(stored), indent=2) + b"\n"


def _holds_sealed(path: Path) -> bool:
    try:
        content = files.read_private(path)
    except VaultError:
        return False
    return content is not None and is_sealed(content)


def _schema_cause(path: Path, content: bytes, error: Exception) -> str:
    if not content.strip(b" \t\r\n\0"):
        found = "the file is empty"
    elif not content.rstrip().endswith(b"}"):
        found = "the file is truncated, or not JSON"
    else:
        found = f"not a tokenrelay token file ({str(error)[:120]})"
    return (
        f"{found}. It was left as it is. Put a copy back, or log in again (tokenrelay login); "
        f"a file of another program: tokenrelay import {quote(str(path))}"
    )


def _content_cause(token: TokenSet) -> str | None:
    if not is_token(token.access_token):
        return "access_token holds bytes that no token may have"
    if token.refresh_token is not None and not is_token(token.refresh_token):
        return "refresh_token holds bytes that no token may have"
    for key in ("expires_at", "issued_at", "granted_at", "grant_expires_at"):
        moment = getattr(token, key)
        if moment is not None and not 0 < moment < FIRST_IMPOSSIBLE_SECOND:
            return f"{key} is not in Unix seconds"
    if not 0 <= token.serial <= MAXIMUM_SERIAL:
        return "serial is out of range"
    if token.token_type.lower() != "bearer":
        return "token_type is not Bearer"
    return None
