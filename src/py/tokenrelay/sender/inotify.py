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
    """The watch of a whole program, shared by its followers: a user has few of these descriptors
    (128, fs.inotify.max_user_instances). For the event loop's thread."""

    def __init__(self) -> None:
        self._followers: dict[int, set[Follower]] = {}  # by watch descriptor
        self._descriptor = check(libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    async def run(self) -> None:
        """Hand out what the kernel tells, until cancelled."""
        while True:
            await anyio.wait_readable(self._descriptor)
            self._hand_out(os.read(self._descriptor, _READ_BYTES))

    def add(self, directory: Path, follower: Follower) -> tuple[int, Path] | None:
        """Let the follower hear of a directory, or of its nearest ancestor that exists."""
        # What appears between the look and the watch raises no event: look until nothing changes.
        found, previous = self._add_nearest(directory), None
        while found != previous:
            found, previous = self._add_nearest(directory), found
        if found is not None:
            self._followers.setdefault(found[0], set()).add(follower)
        return found

    def remove(self, number: int, follower: Follower) -> None:
        """End what `add` began; the kernel's watch goes with its last follower."""
        followers = self._followers.get(number, set())
        followers.discard(follower)
        if not followers:
            self._followers.pop(number, None)
            libc.inotify_rm_watch(self._descriptor, number)

    def _add_nearest(self, directory: Path) -> tuple[int, Path] | None:
        mask = _NAMES_COME_AND_GO | _ONLY_DIRECTORY
        for path in (directory, *directory.parents):
            # Missing, not ours to read, or out of watches: the nearest above it has to do.
            with contextlib.suppress(OSError):
                name = os.fsencode(path)
                return check(libc.inotify_add_watch(self._descriptor, name, mask)), path
        return None

    def _hand_out(self, events: bytes) -> None:
        offset = 0
        while offset < len(events):
            number, mask, _, length = _HEADER.unpack_from(events, offset)
            offset += _HEADER.size + length
            name = os.fsdecode(events[offset - length : offset].rstrip(b"\0"))
            if mask & _QUEUE_OVERFLOW:
                for follower in set().union(*self._followers.values()):
                    follower.note_all()
            elif not mask & _IGNORED:
                for follower in self._followers.get(number, ()):
                    follower.note(number, name)


class Follower:
    """What one part of the program wants to know of a `DirectoryWatch`. One task may wait."""

    def __init__(self, watch: DirectoryWatch) -> None:
        self._watch = watch
        self._paths: dict[int, Path] = {}
        self._changed: set[Path] = set()
        self._wake = anyio.Event()

    def follow(self, directories: Iterable[Path]) -> None:
        """Watch exactly these, each through its nearest existing ancestor while it is missing.

        To be called again after each event, since a directory may have come, gone or moved.
        """
        added = (self._watch.add(directory, self) for directory in directories)
        paths = dict(found for found in added if found is not None)
        for stale in self._paths.keys() - paths.keys():
            self._watch.remove(stale, self)
        self._paths = paths

    async def wait(self) -> set[Path]:
        """Return the paths that came or went since the last call; a watched directory counts too.

        A lost event is reported as a change of every watched directory.
        """
        while not self._changed:
            self._wake = anyio.Event()
            await self._wake.wait()
        changed, self._changed = self._changed, set()
        return changed

    def note(self, number: int, name: str) -> None:
        """The watch's report: a name came or went, or, without one, the directory itself."""
        if (directory := self._paths.get(number)) is not None:
            self._changed.add(directory / name if name else directory)
            self._wake.set()

    def note_all(self) -> None:
        """The watch's report: events were lost."""
        self._changed.update(self._paths.values())
        self._wake.set()
