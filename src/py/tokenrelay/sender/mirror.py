"""A token file for programs that can only read one: written whole, 0600, by the sender alone.

One shape serves all: the plain keys, and below ``token`` what schwab-py and LumiBot's external
mode read (``issued_at`` in milliseconds there, as LumiBot counts).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anyio
from anyio.to_thread import run_sync

from tokenrelay.sender import vault_files as files
from tokenrelay.sender.errors import VaultError

if TYPE_CHECKING:
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    from tokenrelay.sender.tokens import TokenSet


class Mirror:
    """Keeps the newest token in each of ``paths``. For the event loop's thread.

    A path that cannot be written is logged, and tried again with the next token.
    """

    def __init__(
        self, paths: tuple[Path, ...], *, include_refresh_token: bool, log: FilteringBoundLogger
    ) -> None:
        self._paths, self._log = paths, log
        self._include_refresh_token = include_refresh_token
        self._token: TokenSet | None = None
        self._wake = anyio.Event()

    def publish(self, token: TokenSet) -> None:
        """Have ``token`` written soon; never blocks, newest wins."""
        self._token = token
        self._wake.set()

    async def run(self) -> None:
        """Write until cancelled, on threads: a slow disk delays no receiver."""
        while True:
            await self._wake.wait()
            self._wake = anyio.Event()
            await self.write()

    async def write(self) -> None:
        """Write what was published last, if anything was."""
        if self._token is None:
            return
        content = encode_mirror(self._token, include_refresh_token=self._include_refresh_token)
        for path in self._paths:
            try:
                await run_sync(_write, path, content)
            except (VaultError, OSError) as error:
                self._log.error("mirror not written", error=str(error))


def encode_mirror(token: TokenSet, *, include_refresh_token: bool = False) -> bytes:
    """The file's content."""
    issued_at = token.issued_at or token.expires_at - 1800
    inner: dict[str, Any] = {
        "access_token": token.access_token,
        "token_type": token.token_type,
        "expires_at": token.expires_at,
        "expires_in": token.expires_at - issued_at,
        "issued_at": issued_at * 1000,
        "scope": token.scope or "",
    }
    plain: dict[str, Any] = {
        "access_token": token.access_token,
        "token_type": token.token_type,
        "expires_at": token.expires_at,
        "grant_expires_at": token.grant_expires_at,
        "creation_timestamp": token.granted_at or issued_at,
    }
    if include_refresh_token and token.refresh_token is not None:
        plain["refresh_token"] = inner["refresh_token"] = token.refresh_token
    return json.dumps({**plain, "token": inner}, indent=2).encode() + b"\n"


def _write(path: Path, content: bytes) -> None:
    files.prepare_directory(path)
    files.write_private(path, content)
