"""What a row is: the programs that carry a token from one process to another."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from dataclasses import dataclass
from enum import Enum

SENDER_CPU, RECEIVER_CPU = "0", "1"


class Place(Enum):
    """Where the two ends of a row run."""

    SCHEDULER = "placed by the scheduler"
    TOGETHER = "one processor"
    APART = "a processor each"


# Placeholders the conductor fills in: {socket} {file} {ledger} {ack} {bin}.
LEDGER = ("--ledger", "{ledger}")
SOCKET = (*LEDGER, "--socket", "{socket}")
ACKNOWLEDGED = ("--ack", "{ack}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One way of delivery. `floor` names the row it is compared with, of the same wait mode."""

    name: str
    receiver: tuple[str, ...]
    sender: tuple[str, ...]
    broker: tuple[str, ...] = ()
    floor: str = "epoll + recv, C"
    sender_first: bool = False
    acknowledged: bool = False
    modules: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()

    @property
    def pinned(self) -> bool:
        """Whether its ends choose their processors: one each, since one of them spins."""
        return "--cpu" in self.receiver

    def missing(self) -> str:
        """What this machine lacks for this row, or ""."""
        modules = [name for name in self.modules if importlib.util.find_spec(name) is None]
        programs = [name for name in self.programs if shutil.which(name) is None]
        return ", ".join(modules + programs)


def program(name: str, *options: str) -> tuple[str, ...]:
    return (f"{{bin}}/{name}", *options)


def peer(module: str, *options: str) -> tuple[str, ...]:
    return (sys.executable, "-m", f"peers.{module}", *options)


C_SENDER = program("send_socket", *SOCKET)
C_SENDER_ACKNOWLEDGED = program("send_socket", *SOCKET, *ACKNOWLEDGED)
PINNED_SENDER = program("send_socket", *SOCKET, "--cpu", SENDER_CPU)
SPINNING_SENDER = (*PINNED_SENDER, "--spin", "1")


def floor(mode: str) -> Row:
    return Row(
        name=f"{mode} + recv, C" if mode == "epoll" else "blocking recv, C",
        receiver=program("receive_floor", *SOCKET, "--mode", mode),
        sender=C_SENDER,
    )


SPINNING_FLOOR = Row(
    name="spinning recv, C",
    receiver=program("receive_floor", *SOCKET, "--mode", "spin", "--cpu", RECEIVER_CPU),
    sender=SPINNING_SENDER,
    floor="spinning recv, C",
)
TOKENRELAY = Row(
    name="tokenrelay",
    receiver=program("receive_tokenrelay", *SOCKET),
    sender=C_SENDER,
)
TOKENRELAY_BUSY_POLL = Row(
    name="tokenrelay busy_poll",
    receiver=program(
        "receive_tokenrelay", *SOCKET, "--busy-poll-ms", "60000", "--cpu", RECEIVER_CPU
    ),
    sender=SPINNING_SENDER,
    floor="spinning recv, C",
)
TOKENRELAY_OBSERVED = Row(
    name="tokenrelay, observed",
    receiver=program(
        "receive_tokenrelay",
        *SOCKET,
        *("--cpu", SENDER_CPU, "--observe", "1", "--observer-cpu", RECEIVER_CPU),
    ),
    sender=PINNED_SENDER,
)


def python_row(name: str, mode: str, *, busy: bool = False) -> Row:
    return Row(
        name=name,
        receiver=peer(
            "tokenrelay_receiver",
            *(mode, *SOCKET, *ACKNOWLEDGED, "--library", "{bin}/libpython_native.so"),
            *(["--busy"] if busy else []),
        ),
        sender=C_SENDER_ACKNOWLEDGED if mode == "callback" else C_SENDER,
        acknowledged=mode == "callback",
        modules=("tokenrelay",),
    )


def pure_python_row(name: str, mode: str, *, busy: bool = False) -> Row:
    return Row(
        name=name,
        receiver=peer("socket_receiver", mode, *SOCKET, *(["--busy"] if busy else [])),
        sender=C_SENDER,
    )


def broker_row(name: str, module: str, needs: str, **extra: object) -> Row:
    return Row(
        name=name,
        receiver=peer(module, "receive", *SOCKET, *ACKNOWLEDGED),
        sender=peer(module, "send", *SOCKET, *ACKNOWLEDGED),
        acknowledged=True,
        modules=(needs,),
        **extra,  # type: ignore[arg-type]
    )


REDIS_SERVER = (
    "redis-server",
    *("--port", "0", "--unixsocket", "{socket}", "--save", "", "--appendonly", "no"),
)

DELIVERY = (
    floor("epoll"),
    floor("recv"),
    SPINNING_FLOOR,
    TOKENRELAY,
    TOKENRELAY_BUSY_POLL,
    python_row("tokenrelay, Python callback", "callback"),
    Row(
        name="mutex + copy, 500 ms select loop",
        receiver=program("receive_mutex", *SOCKET),
        sender=C_SENDER,
    ),
    pure_python_row("Python thread + json", "thread"),
    pure_python_row("Python asyncio streams + json", "asyncio"),
    Row(
        name="file replace + inotify, C",
        receiver=program("receive_file", *LEDGER, "--file", "{file}", *ACKNOWLEDGED),
        sender=program("send_file", *LEDGER, "--file", "{file}", *ACKNOWLEDGED),
        acknowledged=True,
    ),
    Row(
        name="ZeroMQ ipc://, C",
        receiver=program("receive_zmq", *SOCKET, *ACKNOWLEDGED),
        sender=program("send_zmq", *SOCKET, *ACKNOWLEDGED),
        acknowledged=True,
    ),
    broker_row("ZeroMQ ipc://, Python", "zmq_peer", "zmq"),
    broker_row(
        "Redis pub/sub, Unix socket",
        "redis_peer",
        "redis",
        broker=REDIS_SERVER,
        programs=("redis-server",),
    ),
    broker_row("gRPC server streaming, Unix socket", "grpc_peer", "grpc", sender_first=True),
)

CALLBACKS = (
    floor("epoll"),
    TOKENRELAY,
    TOKENRELAY_OBSERVED,
    python_row("native callback in Python, idle", "native"),
    python_row("native callback in Python, one busy thread", "native", busy=True),
    python_row("Python callback, idle", "callback"),
    python_row("Python callback, one busy thread", "callback", busy=True),
    pure_python_row("Python thread + json, idle", "thread"),
    pure_python_row("Python thread + json, one busy thread", "thread", busy=True),
)
