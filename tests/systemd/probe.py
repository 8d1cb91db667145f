"""Tries what a sandbox should refuse, and prints how it went: one JSON object."""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import resource
import socket
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

CLONE_NEWUSER = 0x10000000
PER_LINUX32 = 0x0008
LIBC = ctypes.CDLL(None, use_errno=True)


def system_call(name: str, argument: int) -> None:
    if getattr(LIBC, name)(argument) == -1:
        raise OSError(ctypes.get_errno(), name)


def set_user_id_bit() -> None:
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).chmod(0o4700)


def write_and_execute() -> None:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()


ATTEMPTS: dict[str, Callable[[], object]] = {
    "LockPersonality": lambda: system_call("personality", PER_LINUX32),
    "MemoryDenyWriteExecute": write_and_execute,
    "RestrictAddressFamilies": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close(),
    "RestrictNamespaces": lambda: system_call("unshare", CLONE_NEWUSER),
    "RestrictSUIDSGID": set_user_id_bit,
    "SystemCallFilter": lambda: os.nice(1),
    "PrivateDevices": lambda: Path("/dev/kmsg").stat(),
    "ProtectHome": lambda: next(Path("/home").iterdir()),
    "ProtectProc": lambda: Path("/proc/1").stat(),
    "ProtectSystem": lambda: Path("/usr/probe").touch(),
    "ProtectKernelTunables": lambda: Path("/proc/sys/kernel/domainname").write_text("x"),
}


def outcome(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    except StopIteration:
        return "empty"
    return "allowed"


def main() -> None:
    status = dict(
        line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines()
    )
    report = {
        "attempts": {name: outcome(attempt) for name, attempt in ATTEMPTS.items()},
        "uid": os.getuid(),
        "uid_map": Path("/proc/self/uid_map").read_text().split(),
        "sees": [path for path in sys.argv[1:] if Path(path).exists()],
        "core": list(resource.getrlimit(resource.RLIMIT_CORE)),
        "Umask": status["Umask"],
        "NoNewPrivs": status["NoNewPrivs"],
        "Seccomp": status["Seccomp"],
        "CapBnd": status["CapBnd"],
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
