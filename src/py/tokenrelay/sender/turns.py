"""How many refreshes may be under way at once, for each provider.

A thousand tokens that are due together, after a suspend for instance, would take turns at one
processor: each answer would be read after its deadline, and asked for again after the provider's
grace. Providers have turns of their own, so that one that does not answer delays no other.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio

if TYPE_CHECKING:
    from tokenrelay.sender.config import Account

REFRESHES_AT_ONCE = 32


class Turns:
    """Shared by all accounts of a sender. For the event loop's thread."""

    def __init__(self) -> None:
        self._limiters: dict[str, anyio.CapacityLimiter] = defaultdict(
            lambda: anyio.CapacityLimiter(REFRESHES_AT_ONCE)
        )

    def of(self, account: Account) -> anyio.CapacityLimiter:
        """To be held while a refresh of this account is under way."""
        return self._limiters[urlsplit(account.token_url or account.issuer or "").netloc]
