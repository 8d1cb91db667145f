"""A program that receives: prints one JSON line when it listens and one for every token.

With `--resource URL` it calls that URL with each token and prints the status it got. It ends when
its standard input is closed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from typing import Any

from tokenrelay import Token, TokenReceiver


def main() -> None:
    options = _parse_arguments()
    if options.uid is not None:
        os.setgroups([])
        os.setuid(options.uid)
    with ExitStack() as stack:
        for index in range(options.count):
            receiver = _create_receiver(options)
            receiver.subscribe(lambda token, index=index: _tell(index, token, options.resource))
            stack.enter_context(receiver)
            _print("ready", receiver=index, path=receiver.path, at_ns=_boot_ns())
        sys.stdin.read()


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("account", nargs="?", default="main")
    parser.add_argument("--path")
    parser.add_argument("--mode", type=lambda text: int(text, 8), default=0o600)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--allow-uid", type=int, action="append", default=[])
    parser.add_argument("--resource")
    parser.add_argument("--uid", type=int)
    return parser.parse_args()


def _create_receiver(options: argparse.Namespace) -> TokenReceiver:
    place = (options.account,) if options.path is None else ()
    return TokenReceiver(*place, path=options.path, mode=options.mode, allow_uids=options.allow_uid)


def _tell(index: int, token: Token, resource: str | None) -> None:
    _print(
        "token",
        receiver=index,
        fingerprint=hashlib.sha256(token.access_token.encode()).hexdigest()[:8],
        serial=token.serial,
        generation=token.generation,
        expires_at=token.expires_at,
        received_at_ns=token.received_at_ns,
        status=None if resource is None else _call(resource, token),
    )


def _call(resource: str, token: Token) -> int:
    request = urllib.request.Request(resource, headers={"Authorization": token.authorization})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def _boot_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def _print(event: str, **fields: Any) -> None:
    # One write(2) a line, whole up to PIPE_BUF: many receivers' callbacks print at the same time.
    os.write(1, json.dumps({"event": event, **fields}).encode() + b"\n")


if __name__ == "__main__":
    main()
