"""What can go wrong in the sender, each with the exit code of the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path


class SenderError(Exception):
    """Base of all sender errors. The text says what happened and what to do next."""

    exit_code = 1


class ConfigurationError(SenderError):
    """The configuration cannot be used; the text names file, line and key."""

    exit_code = 3


class CredentialsMissing(ConfigurationError):
    """The configuration needs credentials, which systemd gives to its units alone."""


class LoginNeeded(SenderError):
    """The provider takes the refresh token no more, or there is none."""

    exit_code = 4

    def __init__(self, message: str, *, lost_rotation: bool = False) -> None:
        super().__init__(message)
        self.lost_rotation = lost_rotation

    @classmethod
    def of(cls, account: str, cause: str, *, lost_rotation: bool = False) -> Self:
        """The error that names the command to log in with."""
        message = f"{account}: {cause}. Log in: tokenrelay login {account}"
        return cls(message, lost_rotation=lost_rotation)


class NobodyReceived(SenderError):
    """No receiver took the token."""

    exit_code = 5


class VaultError(SenderError):
    """The token file cannot be used; it was left as it is."""

    def __init__(self, path: Path, cause: str) -> None:
        super().__init__(f"{path}: {cause}")
        self.path = path


class TokenFileDamaged(VaultError):
    """It holds no login of this account: only a copy of it, or a new login, helps."""


class TokenFileSealed(VaultError):
    """It is encrypted, or to be, and its key cannot be had now; asking for it may ask a person."""


class VaultBusy(VaultError):
    """Another process holds the lock of the token file."""


class RefreshFailed(SenderError):
    """A refresh failed in a way that may pass.

    ``retry_after`` is what the provider, or our own pace, asks to wait, in seconds.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
