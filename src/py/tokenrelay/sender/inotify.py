"""Directory events of the kernel, inotify(7), awaited on the event loop.

Called through ctypes: watchfiles looks for events every `step`, which at 1 ms costs 2.6 % of a core
and 1000 wake-ups a second for each idle watch; the bare descriptor costs nothing while idle.
"""

from __future__ import annotations

import contextlib
import os
import struct
from typing import TYPE_CHECKING, Self

import anyio

from tokenrelay.sender.libc import check, libc

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType

_MOVED_FROM, _MOVED_TO = 0x40, 0x80
_CREATE, _DELETE = 0x100, 0x200
_DELETE_SELF, _MOVE_SELF = 0x400, 0x800
_QUEUE_OVERFLOW, _IGNORED = 0x4000, 0x8000
_ONLY_DIRECTORY = 0x0100_0000
_OF_ITSELF = _DELETE_SELF | _MOVE_SELF
_NAMES_COME_AND_GO = _CREATE | _MOVED_TO | _DELETE | _MOVED_FROM | _OF_ITSELF
_HEADER = struct.Struct("iIII")
_READ_BYTES = 65_536


class DirectoryWatch:
    """Tells which names appear in, or vanish from, a set of directories. One task may wait."""

    def __init__(self) -> None:
        self._paths: dict[int, Path] = {}
        self._descriptor = check(libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)

    def follow(self, directories: Iterable[Path]) -> None:
        """Watch exactly these, each through its nearest existing ancestor while it is missing.

        To be called again after each event, since a directory may have come, gone or moved.
        """
        paths = dict(found for directory in directories if (found := self._add(directory)))
        for stale in self._paths.keys() - paths.keys():
            libc.inotify_rm_watch(self._descriptor, stale)
        self._paths = paths

    async def wait(self) -> set[Path]:
        """Return the paths that came or went since the last call; a watched directory counts too.

        A lost event is reported as a change of every watched directory.
        """
        while True:
            await anyio.wait_readable(self._descriptor)
            if changed := self._parse(os.read(self._descriptor, _READ_BYTES)):
                return changed

    def _add(self, directory: Path) -> tuple[int, Path] | None:
        # What appears between the look and the watch raises no event: look until nothing changes.
        found, previous = self._add_nearest(directory), None
        while found != previous:
            found, previous = self._add_nearest(directory), found
        return found

    def _add_nearest(self, directory: Path) -> tuple[int, Path] | None:
        mask = _NAMES_COME_AND_GO | _ONLY_DIRECTORY
        for path in (directory, *directory.parents):
            # Missing, not ours to read, or out of watches: the nearest above it has to do.
            with contextlib.suppress(OSError):
                name = os.fsencode(path)
                return check(libc.inotify_add_watch(self._descriptor, name, mask)), path
        return None

    def _parse(self, events: bytes) -> set[Path]:
        changed: set[Path] = set()
        offset = 0
        while offset < len(events):
            watch, mask, _, length = _HEADER.unpack_from(events, offset)
            offset += _HEADER.size + length
            name = events[offset - length : offset].rstrip(b"\0")
            if mask & _QUEUE_OVERFLOW:
                changed.update(self._paths.values())
            elif not mask & _IGNORED and (directory := self._paths.get(watch)) is not None:
                changed.add(directory / os.fsdecode(name) if name else directory)
        return changed
