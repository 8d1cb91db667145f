"""strace(1) on one thread of a process: which system calls it makes, and one of them disturbed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .stopping import KillBehind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .laboratory import Subject

FILE_CALLS = (
    "openat", "newfstatat", "mkdir", "flock", "read", "lseek", "fallocate", "pwrite64", "ftruncate",
    "fsync", "fdatasync", "fchmod", "rename", "unlink", "close",
)  # fmt: skip
SOCKET_CALLS = ("socket", "connect", "sendto", "recvfrom", "setsockopt", "getsockopt")
NAMES = {"token.json": "token file", "token.json.lock": "lock", "token.json.journal": "journal",
         "token.json.prev": "previous", ".token.json.new": "new token file",
         ".token.json.journal.new": "new journal", ".token.json.prev.new": "new previous",
         "boot_id": "boot id"}  # fmt: skip
LINE = re.compile(r"\[\s*(?P<code>\d+)\] (?P<name>\w+)\(")


@dataclass(frozen=True, slots=True)
class Call:
    """The ``number``-th call of ``name`` on a thread; ``on`` is what it is about, ``code`` the
    kernel's number of that call."""

    thread: str
    name: str
    number: int
    on: str
    code: int = -1

    def __str__(self) -> str:
        return f"{self.thread:6} {self.name:10} #{self.number:<2} {self.on}"


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to a call. ``inject`` is strace's expression; empty: killed behind it."""

    name: str
    inject: str = ""

    @property
    def kills(self) -> bool:
        return self in KILLS


KILLS = (Fault("kill before", "signal=SIGKILL"), Fault("kill after"))
ERRORS = tuple(
    Fault(name, f"error={name}") for name in ("EIO", "ENOSPC", "EDQUOT", "EROFS", "EINTR")
)
SHORT = Fault("short", "retval=0")
FAULTS = (*KILLS, *ERRORS, SHORT)


def faults_of(call: Call) -> tuple[Fault, ...]:
    """What can befall ``call``. The sockets to the test itself only witness a kill."""
    if call.on == "test":
        return KILLS
    if call.name in SOCKET_CALLS or call.on == "network":
        network = tuple(fault for fault in ERRORS if fault.name in ("EIO", "EINTR"))
        return (*KILLS, *network, SHORT) if call.name == "sendto" else (*KILLS, *network)
    return FAULTS if call.name == "pwrite64" else (*KILLS, *ERRORS)


def record(subject: Subject, thread: str) -> list[Call]:
    """The calls one thread makes in an undisturbed refresh, in order."""
    process = subject.process()
    tracer = _attach(process.threads[thread], "-n", "-yy", "-e", f"trace={','.join(_calls())}")
    process.go()
    process.results()
    return list(_parse(thread, tracer.communicate()[1].splitlines()))


def disturb(subject: Subject, call: Call, fault: Fault, **order: Any) -> list[dict[str, Any]]:
    """One refresh in which ``fault`` befalls ``call``; what the process said until its end."""
    process = subject.process(**order)
    thread = process.threads[call.thread]
    if fault.inject:
        expression = f"inject={call.name}:{fault.inject}:when={call.number}"
        tracer = _attach(thread, "-e", f"trace={call.name}", "-e", expression)
        wait: Callable[[], object] = tracer.communicate
    else:
        killer = KillBehind(process.pid, thread, call.code, call.number)
        killer.start()
        wait = killer.join
    process.go()
    try:
        return process.results()
    except TimeoutError:
        os.kill(process.pid, signal.SIGKILL)
        raise
    finally:
        wait()


def _attach(thread: int, *options: str) -> subprocess.Popen[str]:
    tracer = subprocess.Popen(
        ["strace", "-p", str(thread), *options], stderr=subprocess.PIPE, text=True
    )
    assert tracer.stderr is not None
    attached = tracer.stderr.readline()
    assert "attached" in attached, attached
    return tracer


def _calls() -> Iterator[str]:
    yield from FILE_CALLS
    yield from SOCKET_CALLS


def _parse(thread: str, lines: list[str]) -> Iterator[Call]:
    """Up to the message that the refresh ended: what follows is the interpreter's own end."""
    numbers: Counter[str] = Counter()
    for line in lines:
        found = LINE.match(line)
        if found is None:
            continue
        numbers[found["name"]] += 1
        yield Call(thread, found["name"], numbers[found["name"]], _subject_of(line),
                   int(found["code"]))  # fmt: skip
        if r"\"serial\"" in line:
            return


def _subject_of(line: str) -> str:
    if "UNIX" in line:
        return "test"
    if "TCP" in line or "AF_INET" in line:
        return "network"
    names = [name for path in re.findall(r'[<"](/[^>"]*)[>"]', line)
             if (name := NAMES.get(path.rsplit("/", 1)[-1]))]  # fmt: skip
    return names[0] if names else "directory"
