"""Files of secrets: opened without following links, owner and mode checked, written durably."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from contextlib import contextmanager, suppress
from shlex import quote
from typing import TYPE_CHECKING

from tokenrelay.sender.errors import VaultBusy, VaultError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAXIMUM_FILE_BYTES = 65_536
LOCK_POLL_SECONDS = 0.01
PRIVATE = 0o600


def read_private(path: Path) -> bytes | None:
    """The content of a file that only we can read or write; None where there is no file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise VaultError(path, _open_cause(error)) from None
    try:
        check_private(path, os.fstat(descriptor))
        content = _read_bounded(descriptor)
    except OSError as error:
        raise VaultError(path, f"cannot be read: {error.strerror}") from None
    finally:
        _close(descriptor)
    if len(content) > MAXIMUM_FILE_BYTES:
        raise VaultError(path, f"over {MAXIMUM_FILE_BYTES} bytes: not a token file")
    return content


def check_private(path: Path, status: os.stat_result) -> None:
    """VaultError unless it is a regular file of ours, with one name, closed to others."""
    user = os.geteuid()
    if not stat.S_ISREG(status.st_mode):
        raise VaultError(path, "not a regular file: move it away, or set token_file elsewhere")
    if status.st_uid != user:
        raise VaultError(path, f"belongs to user {status.st_uid}: chown {user} {quote(str(path))}")
    if status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        raise VaultError(
            path, f"others may read or write it (mode {mode:04o}): chmod 600 {quote(str(path))}, "
            "and log in again if anybody else uses this machine")  # fmt: skip
    if status.st_nlink > 1:
        raise VaultError(
            path, f"has {status.st_nlink} names (hard links): copy it to one of its own and "
            "remove the others")  # fmt: skip


def prepare_directory(path: Path) -> None:
    """Makes the directory of ``path`` where missing; refuses one in which others may write."""
    directory = path.parent
    try:
        missing = [place for place in (directory, *directory.parents) if not place.exists()]
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for made in missing:
            _sync_directory(made.parent)
        status = directory.stat()
    except OSError as error:
        raise VaultError(path, f"directory {directory}: {error.strerror}") from None
    if status.st_uid not in (0, os.geteuid()):
        raise VaultError(
            path, f"directory {directory} belongs to user {status.st_uid}: have it made yours, "
            "or set token_file elsewhere")  # fmt: skip
    if status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX:
        cure = f"chmod go-w {quote(str(directory))}"
        raise VaultError(path, f"others may write in {directory}: {cure}")


@contextmanager
def locked(path: Path, *, timeout: float) -> Iterator[None]:
    """Holds the lock file ``path`` (flock(2)) alone; VaultBusy after ``timeout`` seconds.

    A file of its own, never removed: a lock on a file that is renamed over protects nothing.
    """
    descriptor = _open_lock(path)
    try:
        deadline = time.monotonic() + timeout
        while not _try_lock(path, descriptor):
            if time.monotonic() >= deadline:
                raise VaultBusy(path, "another process is refreshing this login; try again")
            time.sleep(LOCK_POLL_SECONDS)
        yield
    finally:
        _close(descriptor)


class PreparedFile:
    """A replacement for ``path``: its space is reserved first, its content comes later.

    For one writer at a time: who holds the lock, or, of a mirror, the one sender there is.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._temporary = path, path.with_name(f".{path.name}.new")
        try:
            self._descriptor = self._create()
        except OSError as error:
            raise VaultError(path, f"cannot be prepared: {error.strerror}") from None

    def _create(self) -> int:
        # Whoever left one behind is dead: there is one writer at a time.
        self._temporary.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._temporary, flags, PRIVATE)
        try:
            os.fchmod(descriptor, PRIVATE)
            os.posix_fallocate(descriptor, 0, MAXIMUM_FILE_BYTES)
        except BaseException:
            _close(descriptor)
            _remove(self._temporary)
            raise
        return descriptor

    def commit(self, content: bytes) -> None:
        """Replaces ``path``, durably. VaultError: it is the old one, or the new one but not yet
        durable; never anything else."""
        try:
            view, offset = memoryview(content), 0
            while offset < len(view):
                offset += os.pwrite(self._descriptor, view[offset:], offset)
            os.ftruncate(self._descriptor, len(content))
            os.fsync(self._descriptor)
            self._temporary.rename(self._path)
            _sync_directory(self._path.parent)
        except OSError as error:
            raise VaultError(self._path, f"cannot be written: {error.strerror}") from None
        finally:
            self.discard()

    def discard(self) -> None:
        """Gives back the space; harmless after `commit`."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            _close(descriptor)
            _remove(self._temporary)


def write_private(path: Path, content: bytes) -> None:
    """Replaces ``path`` durably; for one writer at a time."""
    PreparedFile(path).commit(content)


def set_aside(path: Path) -> Path:
    """Renames a file that cannot be used, so that nothing overwrites it, and closes it to others:
    its refresh token may be good. Its new name."""
    number = 0
    while os.path.lexists(kept := path.with_name(f"{path.name}.bad{number or ''}")):
        number += 1
    try:
        path.rename(kept)
    except OSError as error:
        raise VaultError(path, f"cannot be set aside: {error.strerror}") from None
    _close_to_others(kept)
    return kept


def _open_lock(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, PRIVATE)
    except OSError as error:
        raise VaultError(path, _open_cause(error)) from None
    try:
        check_private(path, os.fstat(descriptor))
    except OSError as error:
        _close(descriptor)
        raise VaultError(path, f"cannot be examined: {error.strerror}") from None
    except VaultError:
        _close(descriptor)
        raise
    return descriptor


def _try_lock(path: Path, descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise VaultError(path, f"cannot be locked: {error.strerror}") from None
    return True


def _read_bounded(descriptor: int) -> bytes:
    """The content up to one byte more than a file may have."""
    content, most = bytearray(), MAXIMUM_FILE_BYTES + 1
    while len(content) < most and (chunk := os.read(descriptor, most - len(content))):
        content += chunk
    return bytes(content)


def _close(descriptor: int) -> None:
    # close(2) gives the descriptor back whatever it reports, and all that matters was synced.
    with suppress(OSError):
        os.close(descriptor)


def _close_to_others(path: Path) -> None:
    # What cannot be closed must not cost the login that is about to be stored.
    with suppress(OSError):
        status = path.lstat()
        if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid():
            path.chmod(PRIVATE)


def _remove(temporary: Path) -> None:
    # What cannot be removed is in nobody's way: the next one to prepare removes it.
    with suppress(OSError):
        temporary.unlink(missing_ok=True)


def _open_cause(error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return (
            "a symbolic link; a token file is never reached through one: "
            "set token_file to where it points"
        )
    return f"cannot be opened: {error.strerror}"


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        _close(descriptor)
