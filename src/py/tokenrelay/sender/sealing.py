"""Encryption of the token file at rest, with a key from the system keyring or from systemd."""

from __future__ import annotations

import base64
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

MARK = b"tokenrelay-sealed-1\n"
KEYRING_SERVICE = "tokenrelay"
SHORTEST_KEY, LONGEST_KEY = 16, 4096  # bytes


class SealError(Exception):
    """The key cannot be had, or is not the one; the text says what to do. It names no secret."""


class Seal:
    """Encrypts with the key that ``source`` names: "keyring", or "credential:NAME" for the file
    NAME in ``$CREDENTIALS_DIRECTORY`` (systemd.exec(5)). The key is fetched once, when needed."""

    def __init__(self, source: str, account: str) -> None:
        self._source, self._account = source, account
        self._cipher: Fernet | None = None

    @property
    def has_key(self) -> bool:
        """Whether the key was fetched, so that nothing waits for it any more."""
        return self._cipher is not None

    def fetch(self, *, create: bool = True) -> Fernet:
        """The key, from where it is kept. SealError: it cannot be had. May wait for an unlock.

        ``create``: have the keyring keep a new key where it has none.
        """
        if self._cipher is None:
            if self._source == "keyring":
                found = _from_keyring(self._account, create=create)
            else:
                found = _from_systemd(self._source.removeprefix("credential:"))
            self._cipher = _derive(found)
        return self._cipher

    def close(self, content: bytes) -> bytes:
        """``content`` encrypted."""
        return MARK + self.fetch().encrypt(content) + b"\n"

    def open(self, content: bytes) -> bytes:
        """What `close` was given. SealError: encrypted with another key, or damaged."""
        from cryptography.fernet import InvalidToken  # noqa: PLC0415 - the option is rare

        try:
            return self.fetch(create=False).decrypt(content.removeprefix(MARK).strip())
        except InvalidToken:
            raise SealError(
                f'damaged, or encrypted with another key than encrypt = "{self._source}" gives; '
                "put the key or a copy of the file back, or log in again"
            ) from None


def is_sealed(content: bytes) -> bool:
    """Whether ``content`` is what `Seal.close` makes."""
    return content.startswith(MARK)


def check_source(text: str) -> str:
    """The setting `encrypt`, or ValueError."""
    name = text.removeprefix("credential:")
    if text == "keyring" or (name != text and name and Path(name).name == name):
        return text
    raise ValueError(f'{text!r}: write "keyring", or "credential:NAME" for a systemd credential')


def _derive(material: bytes) -> Fernet:
    from cryptography.fernet import Fernet  # noqa: PLC0415
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415

    key = HKDF(SHA256(), length=32, salt=None, info=b"tokenrelay token file 1").derive(material)
    return Fernet(base64.urlsafe_b64encode(key))


def _from_systemd(name: str) -> bytes:
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        raise SealError(
            f"the key is the systemd credential {name}, but $CREDENTIALS_DIRECTORY is not set: "
            f"start this with LoadCredentialEncrypted={name}:… (systemd.exec(5))"
        )
    path = Path(directory) / name
    try:
        with path.open("rb") as file:
            key = file.read(LONGEST_KEY + 1)
    except OSError as error:
        raise SealError(f"the credential {path} cannot be read: {error.strerror}") from None
    if not SHORTEST_KEY <= len(key) <= LONGEST_KEY:
        raise SealError(f"the credential {path} must have {SHORTEST_KEY} to {LONGEST_KEY} bytes")
    return key


def _from_keyring(account: str, *, create: bool) -> bytes:
    try:
        import keyring  # noqa: PLC0415
        import keyring.errors  # noqa: PLC0415
    except ImportError:
        raise SealError(
            "the package keyring is missing: pip install 'tokenrelay[sender,keyring]'"
        ) from None
    try:
        found = keyring.get_password(KEYRING_SERVICE, account)
        if found is None and not create:
            raise SealError(f"the system keyring has no key for {KEYRING_SERVICE}, {account}; "
                            "put it back, or log in again")  # fmt: skip
        if found is None:
            found = secrets.token_urlsafe(32)
            keyring.set_password(KEYRING_SERVICE, account, found)
            if keyring.get_password(KEYRING_SERVICE, account) != found:
                raise SealError("the system keyring does not keep what is stored in it")
    except keyring.errors.KeyringError as error:
        raise SealError(
            f"the system keyring cannot be used ({type(error).__name__}): unlock it, or keep the "
            'key elsewhere: encrypt = "credential:NAME"'
        ) from None
    return found.encode()
