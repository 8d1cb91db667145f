"""The processes that refresh: ``python -m tests.reliability.refreshing SOCKET``.

The server imports everything once and forks a fresh process for every connection. That process
reads an order, prepares itself, answers ``ready``, waits for a line and refreshes; it tells each
token that it publishes and how each round ended. It lives and dies by itself, so whatever strace
or SIGKILL does to it happens to one real refresh.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from random import Random
from typing import IO, TYPE_CHECKING, Any

import anyio
import structlog
from anyio.to_thread import run_sync

from tokenrelay.sender.clock import SystemClock
from tokenrelay.sender.config import Account, load_config
from tokenrelay.sender.errors import SenderError
from tokenrelay.sender.http_client import default_client
from tokenrelay.sender.oauth import TokenEndpoint
from tokenrelay.sender.refresher import Refresher
from tokenrelay.sender.vault import Vault

from . import known_bad

if TYPE_CHECKING:
    from tokenrelay.sender.tokens import TokenSet


# Whatever the configuration of structlog, and without changing it.
QUIET: Any = structlog.wrap_logger(
    structlog.ReturnLogger(),
    processors=[],
    wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
)


def refresher_of(account: Account, publish: Any) -> Refresher:
    """A refresher as `tokenrelay run` makes it."""
    return Refresher(
        account,
        Vault(account.token_file, token_url=account.token_url, client_id=account.client_id),
        TokenEndpoint(account),
        publish=publish,
        clock=SystemClock(),
        random=Random(),
        log=QUIET,
    )


class Worker:
    """One process's side of the conversation."""

    def __init__(self, lines: IO[str], order: dict[str, Any]) -> None:
        self._lines, self._order = lines, order

    async def run(self) -> None:
        account = load_config(Path(self._order["config"])).select()
        thread = await run_sync(threading.get_native_id)
        self._say(ready=True, main=os.getpid(), worker=thread)
        self._lines.readline()
        for _ in range(self._order.get("rounds", 1)):
            await self._refresh(account)

    async def _refresh(self, account: Account) -> None:
        try:
            token = await refresher_of(account, self._publish).refresh_now(reason="test")
        except SenderError as error:
            self._say(error=type(error).__name__, text=str(error))
        else:
            self._say(serial=token.serial)

    def _publish(self, token: TokenSet) -> None:
        if self._order.get("tell", True):
            self._say(published=token.serial)

    def _say(self, **facts: object) -> None:
        self._lines.write(json.dumps(facts) + "\n")
        self._lines.flush()


def serve(connection: socket.socket) -> None:
    lines = connection.makefile("rw")
    order = json.loads(lines.readline())
    limit_writes(order.get("write_limit"))
    with known_bad.applied(order.get("variant")):
        anyio.run(Worker(lines, order).run)


def limit_writes(limit: int | None) -> None:
    """Makes every pwrite(2) a short one, which strace cannot do truthfully."""
    if limit is not None:
        whole = os.pwrite
        os.pwrite = lambda descriptor, data, offset: whole(
            descriptor, memoryview(data)[:limit], offset
        )


def main() -> None:
    default_client()  # loads the certificates
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv[1])
    listener.listen(64)
    quiet = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    print("ready", flush=True)
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            try:
                listener.close()
                os.dup2(quiet, sys.stderr.fileno())  # what a fault makes asyncio say
                serve(connection)
            finally:
                os._exit(0)
        connection.close()


if __name__ == "__main__":
    main()
