"""tokenrelay in a Python process: a Python callback, or a native one."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

from lab.ledger import now_ns
from peers import arguments, idle
from peers.pacing import Acknowledger
from tokenrelay import Token, TokenReceiver

if TYPE_CHECKING:
    from pathlib import Path


def native_callback(library: str, ledger: Path) -> object:
    functions = ctypes.CDLL(library)
    functions.bench_open(str(ledger).encode())
    return functions.bench_on_token


def main() -> None:
    options = arguments.parse(__doc__ or "", "callback", "native")
    if options.mode == "native":
        function = native_callback(options.library, options.ledger)
        receiver = TokenReceiver(path=options.socket, on_native=function)
    else:
        acknowledge = Acknowledger(options.ledger, options.ack)

        def on_token(token: Token) -> None:
            entered = now_ns()
            acknowledge(token.received_at_ns, entered)

        receiver = TokenReceiver(path=options.socket)
        receiver.subscribe(on_token)
    receiver.start()
    print("ready", flush=True)
    idle.stay(busy=options.busy)


if __name__ == "__main__":
    main()
