from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from support.listener import Listener
from support.programs import SUPPORT
from tokenrelay.sender import peers

if TYPE_CHECKING:
    from pathlib import Path

    from support.programs import Start

NOBODY = 65534


def test_the_peer_is_the_process_that_listens(short_path: Path) -> None:
    with Listener(short_path / "own.sock") as listener:
        connection, peer, identity = peers.connect(listener.path)
        with connection:
            assert peer == peers.Peer(os.getpid(), os.geteuid())
            assert identity == peers.identify(listener.path)
            assert not connection.getblocking()


def test_a_socket_that_replaces_another_has_another_identity(short_path: Path) -> None:
    path = short_path / "own.sock"
    with Listener(path):
        first = peers.identify(path)
        with Listener(path):
            assert peers.identify(path) not in (first, None)
    assert peers.identify(path) is None


def test_a_path_that_is_no_socket_is_refused(short_path: Path) -> None:
    (short_path / "file").write_text("")
    os.mkfifo(short_path / "pipe")
    with Listener(short_path / "real.sock") as listener:
        (short_path / "link").symlink_to(listener.path)
        for name in ("file", "pipe", "link"):
            with pytest.raises(peers.UntrustedPeer, match="not a socket"):
                peers.connect(short_path / name)
        assert listener.connections.empty()


def test_an_absent_and_an_abandoned_socket_are_told_apart(short_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        peers.connect(short_path / "absent.sock")
    listener = Listener(short_path / "left.sock")
    listener.close()
    with pytest.raises(ConnectionRefusedError):
        peers.connect(listener.path)


def test_a_listener_that_accepts_nothing_does_not_block(short_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(short_path / "full.sock"))
        listener.listen(0)
        waiting, _, _ = peers.connect(short_path / "full.sock")
        with waiting, pytest.raises(BlockingIOError):
            peers.connect(short_path / "full.sock")


@pytest.mark.needs_root
def test_the_kernel_tells_who_listens_whoever_owns_the_file(short_path: Path, start: Start) -> None:
    path = short_path / "squatted.sock"
    short_path.chmod(0o777)
    listener = (sys.executable, SUPPORT / "listener.py", short_path, "--path", path)
    squatter = start(*listener, "--uid", str(NOBODY))
    squatter.wait_for_event("ready")
    with pytest.raises(peers.UntrustedPeer, match=f"belongs to user {NOBODY}"):
        peers.connect(path)
    os.chown(path, os.geteuid(), -1)
    with pytest.raises(peers.UntrustedPeer, match=f"process {squatter.pid} of user {NOBODY}"):
        peers.connect(path)
    connection, peer, _ = peers.connect(path, (NOBODY,))
    with connection:
        assert peer.uid == NOBODY


def test_programs_and_their_end_are_recognised() -> None:
    assert peers.program_of(os.getpid())
    assert peers.is_alive(os.getpid())
    gone = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(gone, 0)
    assert not peers.is_alive(gone)
    assert peers.program_of(gone) is None
