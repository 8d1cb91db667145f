"""A process that refreshes one token file: ``vault_worker.py FILE URL ROUNDS``.

Prints a line a round; a line on its standard input starts it, so that many start as one.
"""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random

import anyio
import structlog
from sender_support import account

from tokenrelay.sender.clock import SystemClock
from tokenrelay.sender.oauth import TokenEndpoint
from tokenrelay.sender.refresher import Refresher
from tokenrelay.sender.vault import Vault


async def refresh(path: Path, url: str) -> int:
    settings = account(path, url)
    refresher = Refresher(
        settings,
        Vault(path, token_url=url, client_id=settings.client_id),
        TokenEndpoint(settings),
        publish=lambda _: None,
        clock=SystemClock(),
        random=Random(),
        log=structlog.get_logger(),
    )
    return (await refresher.refresh_now(reason="test")).serial


def main() -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    path, url, rounds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(rounds):
        print(anyio.run(refresh, path, url), flush=True)


if __name__ == "__main__":
    main()
