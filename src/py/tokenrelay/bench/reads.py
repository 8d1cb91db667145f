"""The read tier: the newest token in hand, in C++ and in Python, each beside its floor."""

from __future__ import annotations

import contextlib
import socket
import threading
import timeit
from typing import TYPE_CHECKING

from tokenrelay import TokenReceiver, _core

from .figures import Figure, times_floor
from .row import make_frame, pinned

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BATCH = 8192
PYTHON_BATCH = 5000
NATIVE_FACTOR = 2.0
PYTHON_FACTOR = 1.2
WRITER_GAP_NS = 40_000  # with the timer's slack about 10 kHz


@contextlib.contextmanager
def _receiver(directory: Path, cpu: int | None) -> Iterator[tuple[TokenReceiver, socket.socket]]:
    """A receiver that has a token, and a connection to send more."""
    path = str(directory / "read.sock")
    with TokenReceiver(path=path, cpu=cpu) as receiver, socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        _send(connection, 1, 0)
        yield receiver, connection


def _send(connection: socket.socket, count: int, gap_ns: int) -> None:
    frame, serial = make_frame()
    _core._send_frames(connection.fileno(), frame, serial, count, gap_ns, -1, False)


def native_reads(
    directory: Path, batches: int, *, writer: set[int], reader: set[int]
) -> Iterator[Figure]:
    """With the writer at rest, and publishing about 10,000 times a second."""
    with _receiver(directory, min(writer)) as (receiver, connection), pinned(reader):
        yield from _native_figures("writer at rest", receiver, batches)
        with _writing(connection, writer):
            yield from _native_figures("writer at 10 kHz", receiver, batches)


@contextlib.contextmanager
def _writing(connection: socket.socket, processors: set[int]) -> Iterator[None]:
    ended = threading.Event()

    def write() -> None:
        with pinned(processors):
            while not ended.is_set():
                _send(connection, 100, WRITER_GAP_NS)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _native_figures(writer: str, receiver: TokenReceiver, batches: int) -> Iterator[Figure]:
    plain, current, handle = _core._read_tokens(receiver, batches, BATCH)
    tier = f"read in C++, {writer}"
    yield Figure(
        tier=tier,
        name="Reader",
        samples=handle,
        promise=f"p50 <= {NATIVE_FACTOR:g} x floor",
        limits=times_floor(plain, NATIVE_FACTOR, "p50"),
    )
    yield Figure(tier=tier, name="current()", samples=current)
    yield Figure(tier=tier, name="floor: one atomic load", samples=plain)


def python_reads(directory: Path, batches: int) -> Iterator[Figure]:
    """``receiver.token`` against a property of the same binding that returns a cached object."""
    with _receiver(directory, None) as (receiver, _):
        floor = _core._Floor(receiver.token)
        ours, bare = [], []
        for _batch in range(batches):
            empty = _time("pass", None)
            bare.append(_time("it.token", floor) - empty)
            ours.append(_time("it.token", receiver) - empty)
    yield Figure(
        tier="read in Python",
        name="receiver.token",
        samples=ours,
        promise=f"p50 <= {PYTHON_FACTOR:g} x floor",
        limits=times_floor(bare, PYTHON_FACTOR, "p50"),
    )
    yield Figure(tier="read in Python", name="floor: cached property", samples=bare)


def _time(statement: str, it: object) -> float:
    seconds = timeit.timeit(statement, number=PYTHON_BATCH, globals={"it": it})
    return seconds / PYTHON_BATCH * 1e9
