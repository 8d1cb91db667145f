"""What proc(5) and stat(2) tell of files, locks and processes."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from tokenrelay.cli.diagnosis.facts import PathFacts, Process

if TYPE_CHECKING:
    from tokenrelay.cli.diagnosis.facts import Kind

LISTENS = "0A"  # TCP_LISTEN


def describe_path(path: Path) -> PathFacts:
    """What is there; a symbolic link is followed, and its owner told."""
    try:
        link, target = path.lstat(), path.stat()
    except OSError:
        return PathFacts(str(path), "missing")
    return PathFacts(
        str(path),
        _kind(target.st_mode),
        owner=target.st_uid,
        mode=stat.S_IMODE(target.st_mode),
        link_owner=link.st_uid if stat.S_ISLNK(link.st_mode) else None,
    )


def lock_holder(path: Path) -> Process | None:
    """Who holds flock(2) on a file; None where nobody does, or it cannot be known."""
    try:
        file = _in_proc_locks(path)
        locks = Path("/proc/locks").read_text()
    except OSError:
        return None
    pid = find_lock(locks, file)
    return None if pid is None else process(pid)


def find_lock(locks: str, file: str) -> int | None:
    """The process in the text of /proc/locks that holds FLOCK on a file, as named there."""
    for line in locks.splitlines():
        # 1: FLOCK  ADVISORY  WRITE 4242 fd:01:1837 0 EOF; "->" marks one that waits
        fields = line.split()
        if fields[1] == "FLOCK" and fields[5] == file:
            return int(fields[4])
    return None


def _in_proc_locks(path: Path) -> str:
    """How /proc/locks names a file: device of the mount, which on btrfs is not stat(2)'s; inode."""
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        information = Path(f"/proc/self/fdinfo/{descriptor}").read_text()
        inode = os.fstat(descriptor).st_ino
    finally:
        os.close(descriptor)
    mounts = Path("/proc/self/mountinfo").read_text()
    major, minor = find_device(mounts, information.partition("mnt_id:")[2].split()[0])
    return f"{major:02x}:{minor:02x}:{inode}"


def find_device(mounts: str, mount: str) -> tuple[int, int]:
    """Major and minor number in the text of /proc/self/mountinfo. OSError: no such mount."""
    for line in mounts.splitlines():
        # 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
        fields = line.split()
        if fields[0] == mount:
            major, _, minor = fields[2].partition(":")
            return int(major), int(minor)
    raise OSError(f"mount {mount} is not in /proc/self/mountinfo")


def process(pid: int) -> Process:
    """Its name and state as ps(1) shows them."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return Process(pid, "unknown")
    name, _, rest = text.partition("(")[2].rpartition(")")
    return Process(pid, name, rest.split()[0])


def listener_of(port: int) -> tuple[bool, Process | None]:
    """Whether somebody listens at a TCP port of this machine, and who, where that may be seen."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            inodes |= find_listeners(Path(table).read_text(), port)
        except OSError:
            continue
    return bool(inodes), _owner_of({f"socket:[{inode}]" for inode in inodes}) if inodes else None


def find_listeners(table: str, port: int) -> set[int]:
    """The inodes of sockets in the text of /proc/net/tcp that listen at a port."""
    rows = (line.split() for line in table.splitlines()[1:])
    return {
        int(row[9])
        for row in rows
        if row[3] == LISTENS and int(row[1].rpartition(":")[2], 16) == port
    }


def _owner_of(links: set[str]) -> Process | None:
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(entry.readlink()) in links for entry in (directory / "fd").iterdir()):
                return process(int(directory.name))
        except OSError:
            continue  # another user's, or gone
    return None


def _kind(mode: int) -> Kind:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "directory"
    return "socket" if stat.S_ISSOCK(mode) else "other"
