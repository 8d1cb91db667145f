"""What can go wrong in the sender, each with the exit code of the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class SenderError(Exception):
    """Base of all sender errors. The text says what happened and what to do next."""

    exit_code = 1


class ConfigurationError(SenderError):
    """The configuration cannot be used; the text names file, line and key."""

    exit_code = 3


class LoginNeeded(SenderError):
    """The provider takes the refresh token no more, or there is none."""

    exit_code = 4

    def __init__(self, account: str, cause: str, *, lost_rotation: bool = False) -> None:
        super().__init__(f"{account}: {cause}. Log in again: tokenrelay login {account}")
        self.account = account
        self.cause = cause
        self.lost_rotation = lost_rotation


class NobodyReceived(SenderError):
    """No receiver took the token."""

    exit_code = 5


class VaultError(SenderError):
    """The token file cannot be used; it was left as it is."""

    def __init__(self, path: Path, cause: str) -> None:
        super().__init__(f"{path}: {cause}")
        self.path = path


class VaultBusy(VaultError):
    """Another process holds the lock of the token file."""


class RefreshFailed(SenderError):
    """A refresh failed in a way that may pass.

    ``retry_after`` is what the provider, or our own pace, asks to wait, in seconds.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
