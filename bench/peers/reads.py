"""ns per read of a valid token in Python: tokenrelay, its floors, and what people use today."""

from __future__ import annotations

import argparse
import functools
import importlib.machinery
import importlib.util
import json
import socket
import threading
import time
import timeit
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peers.pacing import TOKEN_SIZE, frames

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FAR = 4102444800
TOKEN = "k" * TOKEN_SIZE


@dataclass(frozen=True, slots=True)
class Read:
    """A statement that ends with the token or header in hand, and what it needs."""

    statement: str
    names: Mapping[str, Any]
    loops: int = 200_000


class Holder:
    __slots__ = ("token",)

    def __init__(self) -> None:
        self.token = TOKEN


def attribute(_: argparse.Namespace) -> Read:
    return Read("holder.token", {"holder": Holder()})


def locked_attribute(_: argparse.Namespace) -> Read:
    statement = "with lock:\n    holder.token"
    return Read(statement, {"holder": Holder(), "lock": threading.Lock()})


@functools.cache
def floor_object(programs: str) -> Any:
    path = next(Path(programs).glob("bench_floor*.so"), None)
    if path is None:
        raise ImportError("bench_floor is not built (needs nanobind)")
    loader = importlib.machinery.ExtensionFileLoader("bench_floor", str(path))
    module = importlib.util.module_from_spec(
        importlib.util.spec_from_loader("bench_floor", loader)  # type: ignore[arg-type]
    )
    loader.exec_module(module)
    return module.Floor(object())


def nanobind_property(options: argparse.Namespace) -> Read:
    return Read("floor.property", {"floor": floor_object(options.programs)})


def raw_getset(options: argparse.Namespace) -> Read:
    return Read("floor.raw", {"floor": floor_object(options.programs)})


def receiver(options: argparse.Namespace) -> Any:
    from tokenrelay import TokenReceiver

    receiver = TokenReceiver(path=options.socket)
    receiver.start()
    with socket.socket(socket.AF_UNIX) as sender:
        sender.connect(options.socket)
        sender.sendall(next(frames()))
        receiver.wait(timeout=10)
    return receiver


def tokenrelay_token(options: argparse.Namespace) -> Read:
    return Read("receiver.token", {"receiver": receiver(options)})


def tokenrelay_header(options: argparse.Namespace) -> Read:
    options.socket += "-header"
    return Read("receiver.token.authorization", {"receiver": receiver(options)})


def google_auth(_: argparse.Namespace) -> Read:
    from google.oauth2.credentials import Credentials

    expiry = datetime.now(UTC).replace(tzinfo=None) + timedelta(days=1)
    # Fresh headers, as each request has: a reused dictionary's metrics header would grow.
    statement = 'credentials.before_request(None, "GET", "https://api.example/", {})'
    return Read(statement, {"credentials": Credentials(TOKEN, expiry=expiry)}, 5_000)


def botocore(_: argparse.Namespace) -> Read:
    from botocore.credentials import RefreshableCredentials

    credentials = RefreshableCredentials(
        access_key="key",
        secret_key="secret",
        token=TOKEN,
        expiry_time=datetime.now(UTC) + timedelta(days=1),
        refresh_using=dict,
        method="bench",
    )
    return Read("credentials.get_frozen_credentials()", {"credentials": credentials}, 5_000)


def authlib(_: argparse.Namespace) -> Read:
    from authlib.integrations.requests_client import OAuth2Session

    session = OAuth2Session("client", token={"access_token": TOKEN, "expires_at": FAR})
    statement = (
        "session.ensure_active_token(session.token)\n"
        'session.token_auth.prepare("https://api.example/", {}, None)'
    )
    return Read(statement, {"session": session}, 20_000)


ROWS: dict[str, Callable[[argparse.Namespace], Read]] = {
    "attribute": attribute,
    "raw getset, cached object": raw_getset,
    "nanobind property, cached object": nanobind_property,
    "tokenrelay receiver.token": tokenrelay_token,
    "tokenrelay receiver.token.authorization": tokenrelay_header,
    "lock + attribute": locked_attribute,
    "Authlib check and header": authlib,
    "google-auth before_request": google_auth,
    "botocore frozen credentials": botocore,
}


def prepare(options: argparse.Namespace) -> tuple[dict[str, Read], dict[str, str]]:
    reads: dict[str, Read] = {}
    left_out: dict[str, str] = {}
    for name, make in ROWS.items():
        try:
            reads[name] = make(options)
        except ImportError as error:
            left_out[name] = str(error)
    return reads, left_out


def measure(reads: Mapping[str, Read], repeats: int) -> dict[str, list[float]]:
    """Rows take turns; the empty loop of the same repeat is subtracted."""
    timers = {
        name: timeit.Timer(read.statement, globals=dict(read.names), timer=time.perf_counter)
        for name, read in reads.items()
    }
    empty = timeit.Timer("pass", timer=time.perf_counter)
    samples: dict[str, list[float]] = {name: [] for name in reads}
    for _ in range(repeats):
        for name, timer in timers.items():
            loops = reads[name].loops
            loop_ns = empty.timeit(loops) / loops * 1e9
            samples[name].append(timer.timeit(loops) / loops * 1e9 - loop_ns)
    return samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--socket", required=True)
    parser.add_argument("--programs", required=True)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    reads, left_out = prepare(options)
    print(json.dumps({"ns": measure(reads, options.repeats), "left_out": left_out}))


if __name__ == "__main__":
    main()
