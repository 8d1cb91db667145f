"""Who is at the other end of a Unix socket, asked before a byte is written or read.

A path in a shared directory can be squatted, so the kernel's word on the process that listens
(SO_PEERCRED, unix(7)) decides, and the file's owner only spares the connection.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from tokenrelay.sender.errors import SenderError

if TYPE_CHECKING:
    from collections.abc import Collection

_CREDENTIALS = struct.Struct("iII")


class UntrustedPeer(SenderError):
    """The socket, or the process behind it, belongs to somebody else. Nothing was sent to it."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Who called listen(2), or connect(2), on the other end; pid 0: of another pid namespace."""

    pid: int
    uid: int


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """Tells one socket file from another at the same path."""

    device: int
    inode: int


def peer_of(connection: socket.socket) -> Peer:
    """Return the credentials the kernel pinned when the connection was made."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(raw)
    return Peer(pid, uid)


def check_peer(connection: socket.socket, path: Path, allowed_uids: Collection[int]) -> Peer:
    """Return the peer, or raise UntrustedPeer where its uid is neither ours nor allowed."""
    peer = peer_of(connection)
    _check_uid(peer.uid, f"{path} is served by process {peer.pid} of", path, allowed_uids)
    return peer


def identify(path: Path) -> FileIdentity | None:
    """Return which file is at the path now; None where there is none."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return FileIdentity(status.st_dev, status.st_ino)


def connect(
    path: Path, allowed_uids: Collection[int] = ()
) -> tuple[socket.socket, Peer, FileIdentity]:
    """Connect to a trusted listener; never blocks: the socket is non-blocking.

    Raises UntrustedPeer, or OSError: FileNotFoundError, ConnectionRefusedError where nobody
    listens, BlockingIOError where the listener's queue is full.
    """
    identity = _check_file(path, allowed_uids)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        connection.connect(os.fspath(path))
        return connection, check_peer(connection, path, allowed_uids), identity
    except BaseException:
        connection.close()
        raise


def listen(path: Path) -> socket.socket:
    """A private listening socket at the path, non-blocking; replaces one of a program that is gone.

    Bound beside it and renamed, so that whoever sees the socket can connect. OSError where anything
    else is there.
    """
    _check_replaceable(path)
    hidden = path.with_name(f".{path.name}")
    hidden.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    mask = os.umask(0o177)
    try:
        listener.bind(os.fspath(hidden))
        listener.listen(16)
        hidden.rename(path)
    except BaseException:
        listener.close()
        raise
    finally:
        os.umask(mask)
    return listener


def describe_failure(error: Exception) -> str:
    """Return what it means that `connect` raised this."""
    match error:
        case FileNotFoundError():
            return "no socket there: the program does not run, or listens elsewhere"
        case ConnectionRefusedError():
            return "nobody listens on the socket: its program has ended"
        case BlockingIOError():
            return "the receiver takes no connections: it is stopped or overloaded"
        case OSError():
            return error.strerror or str(error)
    return str(error)


async def send_all(connection: socket.socket, data: bytes) -> None:
    """Send everything through a non-blocking socket. OSError where the peer is gone."""
    view = memoryview(data)
    while view:
        try:
            view = view[connection.send(view) :]
        except BlockingIOError:
            await anyio.wait_writable(connection)


def program_of(pid: int) -> str | None:
    """Return the process's name as ps(1) shows it; None where it cannot be known."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    except OSError:
        return None


async def accept(listener: socket.socket) -> tuple[socket.socket, Any]:
    """The next connection of a non-blocking listener, and its address; waits for it."""
    while True:
        await anyio.wait_readable(listener)
        try:
            return listener.accept()
        except BlockingIOError:
            continue
        except OSError:
            # Out of descriptors: wait for some, do not spin on the listener.
            await anyio.sleep(0.1)


def is_alive(pid: int) -> bool:
    """Return whether a process of this number exists, whoever owns it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _check_replaceable(path: Path) -> None:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise FileExistsError(errno.EEXIST, "what is there is no socket, and is left alone")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(os.fspath(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return
        except OSError:
            pass  # a full queue, a datagram socket, another user's: somebody's all the same
    raise OSError(errno.EADDRINUSE, "another program listens there")


def _check_file(path: Path, allowed_uids: Collection[int]) -> FileIdentity:
    status = path.lstat()
    if not stat.S_ISSOCK(status.st_mode):
        raise UntrustedPeer(f"{path} is not a socket: remove it, or correct the path")
    _check_uid(status.st_uid, f"{path} belongs to", path, allowed_uids)
    return FileIdentity(status.st_dev, status.st_ino)


def _check_uid(uid: int, subject: str, path: Path, allowed_uids: Collection[int]) -> None:
    if uid != os.geteuid() and uid not in allowed_uids:
        raise UntrustedPeer(
            f"{subject} user {uid}, not of user {os.geteuid()}: no token was sent. If that user is "
            f"meant to have it, add {uid} to allow_listener_uids; if not, find out who made {path}"
        )
