"""The publish tier: from the last byte read until a reader on another processor has the token."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from tokenrelay import TokenReceiver, _core

from .row import CAPACITY, WARM_UP, make_frame, pinned

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def publish_times(
    directory: Path, blocks: Iterable[tuple[str, int, int]], *, sender: set[int], receiver: set[int]
) -> dict[str, list[float]]:
    """ns by gap. ``blocks``: gap, its ns, number of frames.

    The thread that sends is the reader too: it looks at `current()` without pause.
    """
    path = str(directory / "publish.sock")
    stamps = _core._Stamps(CAPACITY)
    times: dict[str, list[float]] = {}
    with (
        TokenReceiver(path=path, busy_poll=True, cpu=min(receiver)) as target,
        socket.socket(socket.AF_UNIX) as connection,
        pinned(sender),
    ):
        stamps.subscribe(target)
        connection.connect(path)
        for gap, gap_ns, count in blocks:
            for warming, size in ((True, WARM_UP), (False, count)):
                frame, serial = make_frame()
                found = _core._publish_frames(
                    target,
                    stamps,
                    connection.fileno(),
                    frame,
                    serial,
                    size,
                    0 if warming else gap_ns,
                )
                if not warming:
                    times.setdefault(gap, []).extend(found)
        stamps.cancel()
    return times
