"""Asks each provider for its time, all at once."""

from __future__ import annotations

import time
from collections import defaultdict
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio

from tokenrelay.cli.diagnosis.facts import ProviderFacts
from tokenrelay.sender.http_client import NoAnswerError, exchange

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tokenrelay.sender.config import Account

ANSWER_SECONDS = 5.0


def gather_providers(accounts: Iterable[Account]) -> tuple[ProviderFacts, ...]:
    """One fact for each origin."""
    names: dict[str, list[str]] = defaultdict(list)
    for account in accounts:
        names[_origin(str(account.token_url or account.issuer))].append(account.name)
    return anyio.run(_ask_all, names) if names else ()


async def _ask_all(names: dict[str, list[str]]) -> tuple[ProviderFacts, ...]:
    found: list[ProviderFacts] = []

    async def ask(origin: str) -> None:
        found.append(await _ask(origin, tuple(names[origin])))

    async with anyio.create_task_group() as group:
        for origin in names:
            group.start_soon(ask, origin)
    return tuple(sorted(found, key=lambda facts: facts.accounts))


async def _ask(origin: str, accounts: tuple[str, ...]) -> ProviderFacts:
    began = time.time()
    try:
        answer = await exchange(
            "HEAD", f"{origin}/", headers={}, content=None, deadline=ANSWER_SECONDS
        )
    except NoAnswerError as error:
        return ProviderFacts(origin, accounts, error=str(error))
    return ProviderFacts(
        origin, accounts, clock_ahead=_clock_ahead(answer.headers.get("date"), began, time.time())
    )


def _clock_ahead(date: str | None, began: float, ended: float) -> float | None:
    """Seconds that our clock is ahead; 0 while it is within the exchange and the second told."""
    try:
        theirs = parsedate_to_datetime(date or "").timestamp()
    except ValueError:
        return None
    if began > theirs + 1:
        return began - theirs - 1
    return min(0.0, ended - theirs)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
