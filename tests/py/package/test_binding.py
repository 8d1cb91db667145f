"""The C API as another language loads it: at run time, by name, nothing of ours compiled in."""

from __future__ import annotations

import ctypes
import errno
import socket
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(600)

AUTHORIZATION = 0
TEXT_SIZE = 65_544


class Options(ctypes.Structure):
    """tokenrelay_options."""

    _fields_ = (
        ("size", ctypes.c_size_t),
        ("account", ctypes.c_char_p),
        ("path", ctypes.c_char_p),
        ("program", ctypes.c_char_p),
        ("busy_poll_ns", ctypes.c_int64),
        ("allow_uids", ctypes.c_void_p),
        ("allow_uids_count", ctypes.c_size_t),
        ("mode", ctypes.c_uint),
        ("pin_cpu", ctypes.c_int),
        ("cpu", ctypes.c_int),
    )


ARGUMENTS = {
    "start": (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t),
    "copy": (ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_void_p),
    "wait": (ctypes.c_void_p, ctypes.c_int64, ctypes.c_uint64),
    "destroy": (ctypes.c_void_p,),
}


@pytest.fixture
def library(installed_library: Path) -> ctypes.CDLL:
    (file,) = (path for path in installed_library.rglob("libtokenrelay.so") if path.is_symlink())
    loaded = ctypes.CDLL(str(file))
    loaded.tokenrelay_create.restype = ctypes.c_void_p
    for name, types in ARGUMENTS.items():
        getattr(loaded, f"tokenrelay_{name}").argtypes = types
    return loaded


@pytest.fixture
def receiver(library: ctypes.CDLL, short_path: Path) -> Iterator[Any]:
    options = Options(path=str(short_path / "token.sock").encode())
    options.size = ctypes.sizeof(options)
    made = library.tokenrelay_create(ctypes.byref(options))
    yield made
    library.tokenrelay_destroy(made)


def copied(library: ctypes.CDLL, receiver: Any) -> tuple[int, bytes]:
    buffer = ctypes.create_string_buffer(TEXT_SIZE)
    status = library.tokenrelay_copy(receiver, AUTHORIZATION, buffer, TEXT_SIZE, None)
    return status, buffer.value


def test_a_library_loaded_at_run_time_receives(
    library: ctypes.CDLL, receiver: Any, short_path: Path
) -> None:
    message = ctypes.create_string_buffer(256)
    assert library.tokenrelay_start(receiver, message, 256) == 0, message.value
    assert copied(library, receiver) == (errno.ENODATA, b"")
    with socket.socket(socket.AF_UNIX) as sender:
        sender.settimeout(10)
        sender.connect(str(short_path / "token.sock"))
        sender.sendall(b"test_token_abc123\n")
        assert b'"ok":true' in sender.recv(4096)
    assert library.tokenrelay_wait(receiver, 0, 0) == 0
    assert copied(library, receiver) == (0, b"Bearer test_token_abc123")
