"""What a refresher has seen of its token file."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import anyio

from tokenrelay.sender.aside import call_aside

if TYPE_CHECKING:
    from tokenrelay.sender.clock import Clock, Sleep
    from tokenrelay.sender.vault import Vault


class FileWatch:
    """Tells when to read the token file again, and has its key fetched before that. For the event
    loop's thread."""

    def __init__(self, vault: Vault, *, clock: Clock, sleep: Sleep) -> None:
        self._vault, self._clock, self._sleep = vault, clock, sleep
        self._version: object = self  # nothing seen yet
        self._again_at = 0.0  # boot seconds
        self._fetching = anyio.Lock()
        self.unusable: bool = False
        """Whether it could not be read when it was looked at, or waits for its key."""
        self.missing: bool = False
        """Whether there was none when it was looked at."""

    @property
    def looks_different(self) -> bool:
        """Whether it was replaced, or may be usable by now."""
        # What kept it from being read may pass without a trace on the file itself.
        again = self.unusable and self._clock.boot() >= self._again_at
        version = self._vault.version()
        return again or version != self._version or (self.missing and version is not None)

    def saw(self) -> None:
        """What stands there now is known."""
        self._version = self._vault.version()

    def forget(self) -> None:
        """What stands there now is to be looked at again."""
        self._version = self

    def refuse(self, wait: float) -> None:
        """What stands there now cannot be used; to be looked at again after ``wait`` seconds."""
        self.saw()
        self.unusable, self._again_at = True, self._clock.boot() + wait
        self.missing = False

    async def fetch_key(self) -> None:
        """Has the key at hand, where one is needed, so that nothing that follows waits for a
        person, who is asked once at a time. TokenFileSealed where it cannot be had."""
        async with self._fetching:
            if self._vault.lacks_key:
                fetch = partial(self._vault.fetch_key, create=not self._vault.locked)
                await call_aside(fetch, sleep=self._sleep)
