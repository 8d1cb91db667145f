"""The receiving process of a row: ``python -m tokenrelay.bench.receive KIND PATH CAPACITY ACK``.

Says ``ready``, receives until standard input ends, then writes its stamps to standard output: the
columns *last byte read* and *callback entered*, behind them in a floor *answer sent*, in rows that
enter something behind the native callback *native callback entered*, as 64-bit integers (ns,
CLOCK_BOOTTIME).
"""

from __future__ import annotations

import itertools
import os
import socket
import sys
import threading
from array import array
from typing import TYPE_CHECKING

from tokenrelay import Token, TokenReceiver, _core

if TYPE_CHECKING:
    from collections.abc import Callable


def floor(path: str, capacity: int, _ack: int, *, spin: bool = False) -> list[array[int]]:
    """No receiver at all: what the kernel alone costs."""
    stamps, answers = _core._Stamps(capacity), _core._Stamps(capacity)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        say_ready()
        _core._receive_bare(listener.fileno(), stamps, answers, spin)
    return [array("q", column) for column in (stamps.received, stamps.entered, answers.entered)]


def native(path: str, capacity: int, _ack: int, *, spin: bool = False) -> list[array[int]]:
    """A receiver with a native callback."""
    stamps = _core._Stamps(capacity)
    with TokenReceiver(path=path, busy_poll=spin) as receiver:
        stamps.subscribe(receiver)
        say_ready()
        sys.stdin.read()
        stamps.cancel()
    return [array("q", stamps.received), array("q", stamps.entered)]


def python(path: str, capacity: int, ack: int, *, busy: bool = False) -> list[array[int]]:
    """A receiver with a Python callback, and a native one before it."""
    stamps, before = _core._Stamps(capacity), _core._Stamps(capacity)

    def callback(token: Token) -> None:
        stamps.take(token)
        os.write(ack, b".")

    with TokenReceiver(path=path) as receiver:
        before.subscribe(receiver)
        subscription = receiver.subscribe(callback)
        if busy:
            threading.Thread(target=burn, daemon=True).start()
        say_ready()
        sys.stdin.read()
        subscription.cancel()
        before.cancel()
    return [array("q", column) for column in (stamps.received, stamps.entered, before.entered)]


def follow_up(path: str, capacity: int, ack: int) -> list[array[int]]:
    """The way to a Python callback up to the interpreter, a native one before it."""
    stamps, before = _core._Stamps(capacity), _core._Stamps(capacity)
    with TokenReceiver(path=path) as receiver:
        before.subscribe(receiver)
        _core._stamp_follow_ups(receiver, stamps, ack)
        say_ready()
        sys.stdin.read()
        before.cancel()
    return [array("q", column) for column in (stamps.received, stamps.entered, before.entered)]


def burn() -> None:
    """Runs bytecode for ever, as a thread that computes does."""
    for _ in itertools.count():
        pass


def say_ready() -> None:
    print("ready", flush=True)


KINDS: dict[str, Callable[[str, int, int], list[array[int]]]] = {
    "floor": floor,
    "floor-shared": floor,
    "native-shared": native,
    "floor-spin": lambda path, capacity, ack: floor(path, capacity, ack, spin=True),
    "native": native,
    "native-spin": lambda path, capacity, ack: native(path, capacity, ack, spin=True),
    "follow-up": follow_up,
    "python": python,
    "python-busy": lambda path, capacity, ack: python(path, capacity, ack, busy=True),
}


def main() -> None:
    kind, path, capacity, ack = sys.argv[1:]
    columns = KINDS[kind](path, int(capacity), int(ack))
    for column in columns:
        sys.stdout.buffer.write(column.tobytes())
    sys.stdout.flush()
    if kind == "python-busy":
        os._exit(0)  # the burning thread would hold the interpreter's end up


if __name__ == "__main__":
    main()
