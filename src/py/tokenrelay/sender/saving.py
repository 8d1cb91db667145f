"""Saving a new token that its disk refused: the only copy of it is in memory."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from anyio.to_thread import run_sync

from tokenrelay.sender.errors import VaultError

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from tokenrelay.sender.clock import Sleep
    from tokenrelay.sender.tokens import TokenSet
    from tokenrelay.sender.turns import DiskTurns
    from tokenrelay.sender.vault import Transaction, Vault

AGAIN_SECONDS, LOCK_SECONDS = 1.0, 10.0


class Saver:
    """Tries again for one account. For the event loop's thread."""

    def __init__(
        self,
        account: str,
        vault: Vault,
        *,
        disk: DiskTurns,
        sleep: Sleep,
        log: FilteringBoundLogger,
    ) -> None:
        self._account, self._vault, self._disk = account, vault, disk
        self._sleep, self._log = sleep, log
        self.trouble: str | None = None
        """Why an older copy of the token file could not be replaced when that was tried last."""

    async def again(self, transaction: Transaction) -> VaultError | None:
        """Waits a second, tries, and returns why it was in vain."""
        await self._sleep(AGAIN_SECONDS)
        try:
            await run_sync(transaction.commit, transaction.token, limiter=self._disk.answers)
        except VaultError as error:
            return error
        self._log.info("token saved after all")
        return None

    async def put_back(self, token: TokenSet, *, instead_of: TokenSet) -> None:
        """Stores the newer token where an older copy of the file is; else there is `trouble`."""
        put_back = partial(self._vault.put_back, token, instead_of=instead_of)
        try:
            await run_sync(put_back, limiter=self._disk.answers)
        except VaultError as error:
            if self.trouble is None:
                self._log.error("token not saved", error=str(error))
            self.trouble = f"token not saved: {error}"
        else:
            self.trouble = None
            self._log.warning("token file was an older copy: the token in service replaced it")

    async def last(self) -> None:
        """Tries what can be tried before this process ends; the log says how it went."""
        if not self._vault.unsaved:
            return
        save = partial(self._vault.save_unsaved, timeout=LOCK_SECONDS)
        try:
            await run_sync(save, limiter=self._disk.answers)
        except VaultError as error:
            self._log.critical(
                "token not saved",
                error=str(error),
                hint="it ends with this sender, and the one on disk is spent: unless the provider "
                f"takes that again, tokenrelay login {self._account}",
            )
        else:
            self._log.info("token saved after all")
