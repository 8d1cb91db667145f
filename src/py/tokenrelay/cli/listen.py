"""``tokenrelay listen``."""

from __future__ import annotations

import select
import signal
import socket
import sys
import time
from contextlib import suppress
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from tokenrelay.cli.options import AccountArgument, ConfigOption, JsonOption, choose_account
from tokenrelay.cli.output import duration, note, short_time, time_of_day, write, write_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tokenrelay import Token


def listen(
    context: typer.Context,
    *,
    account: AccountArgument = None,
    path: Annotated[
        Path | None,
        typer.Option("--path", metavar="SOCKET", help="Listen here, not under the account."),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option("--count", metavar="NUMBER", min=1, help="End after this many tokens."),
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Be a receiver and tell what arrives.

    The tokens themselves are never shown. The latency is the time from the last byte read to
    the callback.

    \b
    Example:
      tokenrelay listen schwab
      tokenrelay listen --path /tmp/my.sock --count 1
      tokenrelay listen --json | head -n 1
    """
    from tokenrelay import TokenReceiver

    if path is None:
        receiver = TokenReceiver(choose_account(context, config, account))
    else:
        receiver = TokenReceiver(path=str(path.absolute()))
    signal.signal(signal.SIGTERM, _end)
    arrivals = _Arrivals()
    receiver.subscribe(arrivals.add)
    with receiver:
        note(f"listening on {receiver.path}; Ctrl-C ends it")
        for token, entered_ns in islice(arrivals, count):
            fields = describe(token, entered_ns)
            write_json(fields) if as_json else write(_line(fields))


class _Arrivals:
    """Tokens as they come, each with the time of its callback, CLOCK_BOOTTIME in ns.

    The end comes when who reads our output has seen enough, not at the token after that.
    """

    def __init__(self) -> None:
        self._tokens: SimpleQueue[tuple[Token, int]] = SimpleQueue()
        self._bell, self._rope = socket.socketpair()
        self._bell.setblocking(False)
        self._rope.setblocking(False)
        # A signal that comes just before a wait for a lock would not end that wait.
        signal.set_wakeup_fd(self._rope.fileno(), warn_on_full_buffer=False)

    def add(self, token: Token) -> None:
        """For the receiver's thread."""
        self._tokens.put((token, _boot_ns()))
        with suppress(BlockingIOError):  # full of rings that nobody heard yet
            self._rope.send(b"\0")

    def __iter__(self) -> Iterator[tuple[Token, int]]:
        waiting = select.poll()
        waiting.register(self._bell, select.POLLIN)
        waiting.register(sys.stdout.fileno(), 0)  # errors and hang-ups are told in any case
        while [(self._bell.fileno(), select.POLLIN)] == waiting.poll():
            self._bell.recv(4096)
            while not self._tokens.empty():
                yield self._tokens.get()


def describe(token: Token, entered_ns: int) -> dict[str, Any]:
    """What may be told of a token whose callback was entered at this CLOCK_BOOTTIME (ns)."""
    from tokenrelay.sender.tokens import fingerprint

    return {
        "at": time.time(),
        "fingerprint": fingerprint(token.access_token),
        "generation": token.generation,
        "serial": token.serial,
        "expires_at": token.expires_at,
        "expires_in": token.expires_in,
        "latency_us": (entered_ns - token.received_at_ns) / 1000,
    }


def _line(fields: dict[str, Any]) -> str:
    serial = f"serial {fields['serial']}" if fields["serial"] else "no serial"
    return (
        f"{time_of_day(fields['at'])}  token {fields['fingerprint']}  "
        f"generation {fields['generation']}  {serial}  "
        f"valid for {duration(fields['expires_in'])}  "
        f"in {short_time(fields['latency_us'] / 1e6)}"
    )


def _boot_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    # As an exception, so that the receiver removes its socket on the way out.
    sys.exit(128 + number)
