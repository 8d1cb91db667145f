"""Senders with one mistake each, seen in the field. Every check must catch the mistake it is for;
a check that passes one of them proves nothing."""

from __future__ import annotations

import os
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from tokenrelay.sender import vault_files
from tokenrelay.sender.attempt import Spender
from tokenrelay.sender.errors import VaultBusy
from tokenrelay.sender.refresher import Refresher
from tokenrelay.sender.vault import Transaction, Vault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tokenrelay.sender.journal import Intent
    from tokenrelay.sender.oauth_response import Outcome
    from tokenrelay.sender.tokens import TokenSet


def no_lock() -> Any:
    """Nobody waits for anybody."""
    return patch.object(vault_files, "locked", lambda *_, **__: nullcontext())


def decision_outside_the_lock() -> Any:
    """What to spend is read before the lock is held, and not again."""

    @contextmanager
    def transaction(self: Vault, *, timeout: float = 30.0) -> Iterator[Transaction]:
        current = self.load()
        for _ in range(3000):  # the lock is awaited here, with the decision taken
            try:
                with self._locked(0.01):
                    yield Transaction(self, current, self.load_journal())
                    return
            except VaultBusy:
                continue

    return patch.object(Vault, "transaction", transaction)


def publish_before_durable() -> Any:
    """Receivers hear of a token that a crash can still take back."""
    commit, build = Spender._commit, Refresher.__init__

    def remember(self: Refresher, *arguments: Any, publish: Callable[[TokenSet], None],
                 **options: Any) -> None:  # fmt: skip
        build(self, *arguments, publish=publish, **options)
        self._spender._publish = publish  # type: ignore[attr-defined]

    async def publish_first(self: Spender, transaction: Transaction, token: TokenSet) -> None:
        self._publish(token)  # type: ignore[attr-defined]
        await commit(self, transaction, token)

    return _both(patch.object(Refresher, "__init__", remember),
                 patch.object(Spender, "_commit", publish_first))  # fmt: skip


def blank_on_error() -> Any:
    """A failed refresh empties the token file."""
    note = Spender._note

    async def blank(self: Spender, transaction: Transaction, outcome: Outcome,
                    earlier: Intent | None, *, again: bool) -> None:  # fmt: skip
        await note(self, transaction, outcome, earlier, again=again)
        transaction._vault.path.write_bytes(b"")

    return patch.object(Spender, "_note", blank)


def no_fsync() -> Any:
    """The new file is renamed into place before its content is on the disk."""
    return patch.object(os, "fsync", lambda _: None)


VARIANTS: dict[str, Callable[[], Any]] = {
    "no lock": no_lock,
    "decision outside the lock": decision_outside_the_lock,
    "publish before durable": publish_before_durable,
    "blank on error": blank_on_error,
    "no fsync": no_fsync,
}


def applied(name: str | None) -> Any:
    """A context in which the sender has the mistake ``name``; None: it has none."""
    return nullcontext() if name is None else VARIANTS[name]()


@contextmanager
def _both(first: Any, second: Any) -> Iterator[None]:
    with first, second:
        yield
