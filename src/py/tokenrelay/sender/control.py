"""RUNTIME/sender.sock: how commands ask the running sender, and what makes it the only one.

One JSON line in, one out, then the connection is closed; both sides check the other's uid first.
Requests: ``{"command": "status"}``, ``{"command": "refresh", "account": A}``,
``{"command": "token", "account": A}``. Replies: ``{"ok": true, …}``, or
``{"ok": false, "error": CODE, "message": TEXT, "exit_code": N}``.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Self

import anyio

from tokenrelay.paths import ensure_private_directory, runtime_directories
from tokenrelay.sender import peers
from tokenrelay.sender.errors import (
    ConfigurationError,
    LoginNeeded,
    RefreshFailed,
    SenderError,
    VaultError,
)

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

SOCKET_NAME, LOCK_NAME = "sender.sock", "sender.lock"
MAXIMUM_REQUEST_BYTES = 65_536
MAXIMUM_REPLY_BYTES = 1 << 24
REQUEST_SECONDS = 2.0
_CODES: tuple[tuple[type[SenderError], str], ...] = (
    (LoginNeeded, "login_needed"),
    (ConfigurationError, "configuration"),
    (VaultError, "token_file"),
    (RefreshFailed, "refresh_failed"),
)

Reply = dict[str, Any]
Handler = Callable[[Mapping[str, Any]], Awaitable[Reply]]


class SenderRuns(SenderError):
    """Another sender serves this runtime directory."""


class RequestRefused(SenderError):
    """What the running sender answered instead of a result."""

    def __init__(self, message: str, *, code: str, exit_code: int) -> None:
        super().__init__(message)
        self.code = code
        self.exit_code = exit_code


class ControlServer:
    """The control socket of one runtime directory, held from `with` to its end.

    Entering raises SenderRuns where another process holds it, SenderError where the directory
    cannot be used. `handlers`: by command; what they raise as SenderError becomes the reply, all
    else is logged and called a fault of the sender.
    """

    def __init__(
        self, runtime: Path, handlers: Mapping[str, Handler], *, log: FilteringBoundLogger
    ) -> None:
        self.path: Path = runtime / SOCKET_NAME
        self._handlers, self._log = handlers, log

    def __enter__(self) -> Self:
        try:
            self._open()
        except OSError as error:
            raise SenderError(f"{self.path}: cannot be made: {error}") from error
        return self

    def _open(self) -> None:
        ensure_private_directory(self.path.parent)
        with contextlib.ExitStack() as stack:
            self._lock = _take_lock(self.path.with_name(LOCK_NAME))
            stack.callback(os.close, self._lock)
            self._socket = stack.enter_context(peers.listen(self.path))
            self._identity = peers.identify(self.path)
            self._owned = stack.pop_all()

    def __exit__(self, *_: object) -> None:
        with self._owned:
            if peers.identify(self.path) == self._identity:
                self.path.unlink(missing_ok=True)

    async def run(self) -> None:
        """Answer requests until cancelled, each on its own."""
        async with anyio.create_task_group() as group:
            while True:
                connection, _ = await peers.accept(self._socket)
                group.start_soon(self._serve, connection)

    async def _serve(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        with connection, contextlib.suppress(OSError, peers.UntrustedPeer, TimeoutError):
            peers.check_peer(connection, self.path, ())
            with anyio.fail_after(REQUEST_SECONDS):
                line = await _receive_line(connection)
            reply = await self._answer(line)
            with anyio.fail_after(REQUEST_SECONDS):
                await peers.send_all(connection, json.dumps(reply).encode() + b"\n")

    async def _answer(self, line: bytes) -> Reply:
        try:
            request = json.loads(line)
            handler = self._handlers[request["command"]]
        except (ValueError, KeyError, TypeError, RecursionError):
            known = ", ".join(sorted(self._handlers))
            return _refuse("usage", f"a request is one JSON line with a command of: {known}")
        try:
            return {"ok": True, **await handler(request)}
        except SenderError as error:
            code = next((code for kind, code in _CODES if isinstance(error, kind)), "failed")
            return _refuse(code, str(error), error.exit_code)
        except Exception:
            # One request must not end the sender.
            self._log.exception("request failed by a fault of ours", command=request["command"])
            return _refuse("failed", "a fault of the sender's own kept it from this; see its log")


def call(
    request: Mapping[str, Any],
    *,
    timeout: float,
    directories: tuple[Path, ...] | None = None,
) -> Reply | None:
    """Ask the running sender; None where none runs. Blocks, at most `timeout` seconds a step.

    Raises UntrustedPeer where somebody else listens, SenderError where the answer is none.
    """
    for directory in runtime_directories() if directories is None else directories:
        path = directory / SOCKET_NAME
        try:
            connection, _, _ = peers.connect(path)
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            continue
        except OSError as error:
            raise SenderError(
                f"{path}: the sender cannot be asked: {error.strerror or error}"
            ) from None
        with connection:
            return _exchange(connection, path, request, timeout)
    return None


def checked(reply: Reply) -> Reply:
    """Return the reply's fields, or raise RequestRefused with the sender's reason."""
    if reply.get("ok") is True:
        return {key: value for key, value in reply.items() if key != "ok"}
    raise RequestRefused(
        str(reply.get("message", "the sender refused")),
        code=str(reply.get("error", "failed")),
        exit_code=int(reply.get("exit_code", 1)),
    )


def _exchange(
    connection: socket.socket, path: Path, request: Mapping[str, Any], timeout: float
) -> Reply:
    connection.settimeout(timeout)
    try:
        connection.sendall(json.dumps(request).encode() + b"\n")
        with connection.makefile("rb") as stream:
            reply = json.loads(stream.readline(MAXIMUM_REPLY_BYTES))
    except TimeoutError:
        raise SenderError(
            f"{path}: the sender did not answer within {timeout:g} s; see its log"
        ) from None
    except (OSError, ValueError):
        raise SenderError(f"{path}: the sender ended without an answer; see its log") from None
    if not isinstance(reply, dict):
        raise SenderError(f"{path}: what answered is no sender of this version")
    return reply


def _take_lock(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    lock = os.open(path, flags, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(lock, 32).decode("ascii", "replace").strip() or "unknown"
        os.close(lock)
        raise SenderRuns(
            f"a sender runs for {path.parent} already: process {holder}. "
            "One serves all accounts and programs; see it with: tokenrelay status"
        ) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


async def _receive_line(connection: socket.socket) -> bytes:
    buffer = bytearray()
    while b"\n" not in buffer and len(buffer) <= MAXIMUM_REQUEST_BYTES:
        await anyio.wait_readable(connection)
        with contextlib.suppress(BlockingIOError):
            received = connection.recv(MAXIMUM_REQUEST_BYTES)
            if not received:
                break
            buffer += received
    return bytes(buffer.partition(b"\n")[0])


def _refuse(code: str, message: str, exit_code: int = 1) -> Reply:
    return {"ok": False, "error": code, "message": message, "exit_code": exit_code}
