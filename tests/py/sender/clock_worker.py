"""A sender that runs until it is killed and prints each token: ``clock_worker.py FILE URL``.

Its longest sleep is short, so that a test need not wait for what 30 s would only delay.
"""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import anyio
import structlog
from sender_support import account

from tokenrelay.sender import schedule
from tokenrelay.sender.clock import SystemClock
from tokenrelay.sender.oauth import TokenEndpoint
from tokenrelay.sender.refresher import Refresher
from tokenrelay.sender.vault import Vault

if TYPE_CHECKING:
    from tokenrelay.sender.tokens import TokenSet


def publish(token: TokenSet) -> None:
    print(token.access_token, flush=True)


async def run(path: Path, url: str) -> None:
    settings = account(path, url)
    await Refresher(
        settings,
        Vault(path, token_url=url, client_id=settings.client_id),
        TokenEndpoint(settings),
        publish=publish,
        clock=SystemClock(),
        random=Random(1),
        log=structlog.get_logger(),
    ).run()


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    schedule.LONGEST_SLEEP = 0.1
    anyio.run(run, Path(sys.argv[1]), sys.argv[2])
