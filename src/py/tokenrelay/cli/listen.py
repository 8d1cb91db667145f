"""``tokenrelay listen``."""

from __future__ import annotations

import select
import signal
import sys
import threading
import time
from pathlib import Path
from queue import SimpleQueue
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from tokenrelay.cli.options import AccountArgument, ConfigOption, JsonOption, choose_account
from tokenrelay.cli.output import duration, note, short_time, time_of_day, write, write_json

if TYPE_CHECKING:
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
    arrivals: SimpleQueue[tuple[Token, int] | None] = SimpleQueue()
    receiver.subscribe(lambda token: arrivals.put((token, _boot_ns())))
    threading.Thread(target=_wait_for_reader, args=(arrivals,), daemon=True).start()
    with receiver:
        note(f"listening on {receiver.path}; Ctrl-C ends it")
        received = 0
        while (count is None or received < count) and (arrival := arrivals.get()):
            received += 1
            fields = describe(*arrival)
            write_json(fields) if as_json else write(_line(fields))


def _wait_for_reader(arrivals: SimpleQueue[tuple[Token, int] | None]) -> None:
    """End the listening when who reads our output has seen enough, not at the next token."""
    output = select.poll()
    output.register(sys.stdout.fileno(), 0)  # errors and hang-ups are told in any case
    output.poll()
    arrivals.put(None)


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
