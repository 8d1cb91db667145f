"""One receiver: connect, deliver the newest token, read the answers, connect again."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from dataclasses import replace
from shlex import quote
from typing import TYPE_CHECKING, Any, NoReturn

import anyio

from tokenrelay.sender import peers, socket_names, wire
from tokenrelay.sender.outlet import Frame, Outlet, ReceiverState
from tokenrelay.sender.schedule import FIRST_REQUEST_GAP
from tokenrelay.sender.tokens import HIGHEST_SERIAL_FOLLOWED

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from pathlib import Path

ANSWER_SECONDS = 2.0
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0
_UNREAD_ANSWER_SECONDS = 1.0
# What cannot get better by sending the same frame to the same process again.
_FINAL_REFUSALS = frozenset({"too_large", "malformed", "unsupported", "invalid_token", "expired"})


class _DisconnectError(Exception):
    """The connection is of no more use; the text says why."""


class Connection:
    """One receiver's socket. Everything runs on the event loop's thread; nothing blocks."""

    def __init__(self, path: Path, outlet: Outlet, *, discovered: bool) -> None:
        self.path = path
        self.state: ReceiverState = ReceiverState(
            str(path), program=socket_names.program_of(path) if discovered else None
        )
        self._outlet = outlet
        self._discovered = discovered
        self._wake = anyio.Event()
        self._pauses = _pauses()
        self._refusals = 0
        self._identity: peers.FileIdentity | None = None
        self._serving: anyio.CancelScope | None = None
        self._finished: Frame | None = None
        self._rejected: tuple[Frame, int | None] | None = None
        self._begin()

    def _begin(self) -> None:
        self._sent: Frame | None = None
        self._pending: deque[tuple[Frame, float]] = deque(maxlen=64)
        self._silent = False
        self._refusal: bytes | None = None
        self._news_from = float("-inf")
        self._reading = anyio.CancelScope()

    @property
    def settled(self) -> bool:
        """Whether the newest token has an outcome here: taken, refused, or nobody to take it."""
        return self._outlet.frame is self._finished

    def wake(self) -> None:
        """Look again now: there is a new token, or the path has changed."""
        self._wake.set()

    def check_path(self) -> None:
        """Leave a process whose socket file was replaced by another's."""
        if self._serving is None:
            self.wake()
        elif peers.identify(self.path) not in (None, self._identity):
            self._serving.cancel()

    async def run(self) -> None:
        """Serve the receiver; return when a discovered one is gone, else never."""
        while await self._attempt():
            self._wake = anyio.Event()
            with anyio.move_on_after(next(self._pauses)):
                await self._wake.wait()
                self._pauses = _pauses()

    async def _attempt(self) -> bool:
        frame = self._outlet.frame
        try:
            connection, peer, self._identity = peers.connect(self.path, self._outlet.allowed_uids)
        except (OSError, peers.UntrustedPeer) as error:
            if self._discovered and isinstance(error, FileNotFoundError):
                return False  # taken away by its program at an orderly end: nothing to warn of
            self._finish(frame, peers.describe_failure(error))
            return not (self._discovered and self._is_gone(error))
        self._refusals = 0
        with connection:
            await self._serve(connection, peer)
        return True

    def _is_gone(self, error: Exception) -> bool:
        if not isinstance(error, ConnectionRefusedError):
            return False
        self._refusals += 1
        pid = socket_names.pid_of(self.path)
        if self._refusals < 2 and (pid is None or peers.is_alive(pid)):
            return False
        self.path.unlink(missing_ok=True)
        self._outlet.log.info("removed the socket of a program that is gone", path=str(self.path))
        return True

    async def _serve(self, connection: socket.socket, peer: peers.Peer) -> None:
        self._begin()
        program = self.state.program or peers.program_of(peer.pid)
        error = self.state.error if self._rejected == (self._outlet.frame, peer.pid) else None
        self._update(pid=peer.pid, program=program, connected=True, error=error)
        self._outlet.log.info(
            "receiver connected", path=str(self.path), pid=peer.pid, program=program
        )
        reason = "connection replaced: another socket is at the path"
        with anyio.CancelScope() as serving:
            self._serving = serving
            try:
                async with anyio.create_task_group() as group:
                    group.start_soon(self._write, connection, group.cancel_scope)
                    reason = await self._read(connection)
                    group.cancel_scope.cancel()
            finally:
                self._serving = None
                self._update(connected=False)
        self._outlet.log.info("receiver disconnected", path=str(self.path), reason=reason)
        if not self.settled:
            self._note(self.state.error or reason)

    async def _write(self, connection: socket.socket, scope: anyio.CancelScope) -> None:
        try:
            while True:
                self._wake = anyio.Event()
                if (line := self._next_line()) is None:
                    await self._wake.wait()
                else:
                    await peers.send_all(connection, line)
        except OSError:
            # The receiver may have said why before it closed: leave that to the reader.
            await anyio.sleep(_UNREAD_ANSWER_SECONDS)
            scope.cancel()

    def _next_line(self) -> bytes | None:
        if self._refusal is not None:
            line, self._refusal = self._refusal, None
            return line
        frame = self._outlet.frame
        if frame is None or frame is self._sent or self._rejected == (frame, self.state.pid):
            return None
        if self._pending and not self._silent:
            return None
        if frame.expires_at <= self._outlet.clock.wall():
            self._finish(frame, "the token has expired and was not sent; waiting for the next")
            return None
        self._sent = frame
        self._pending.append((frame, time.perf_counter()))
        self._silent = False
        self._reading.deadline = anyio.current_time() + ANSWER_SECONDS
        return frame.line

    async def _read(self, connection: socket.socket) -> str:
        buffer = bytearray()
        try:
            while received := await self._receive(connection):
                buffer += received
                while (end := buffer.find(b"\n")) >= 0:
                    line = bytes(buffer[:end])
                    del buffer[: end + 1]
                    self._take(line)
                if len(buffer) > wire.MAXIMUM_REPLY_BYTES:
                    self._refuse_answer("too long")
        except _DisconnectError as reason:
            return str(reason)
        except OSError as error:
            return error.strerror or str(error)
        return "the receiver closed the connection"

    async def _receive(self, connection: socket.socket) -> bytes:
        while True:
            deadline = self._reading.deadline
            with anyio.CancelScope(deadline=deadline) as self._reading:
                await anyio.wait_readable(connection)
            if self._reading.cancelled_caught:
                self._note_silence()
                continue
            with contextlib.suppress(BlockingIOError):
                return connection.recv(wire.MAXIMUM_REPLY_BYTES)

    def _note_silence(self) -> None:
        self._reading.deadline = float("inf")
        self._silent = True
        self._outlet.meter.rejected("no_answer")
        self._finish(self._sent, f"no answer for {ANSWER_SECONDS:g} s; the connection is kept")
        self.wake()

    def _take(self, line: bytes) -> None:
        try:
            reply = wire.parse_reply(line)
        except ValueError as error:
            self._refuse_answer(str(error))
        if isinstance(reply, wire.RefreshRequest):
            self._take_request(reply)
            return
        frame, latency = self._take_pending()
        if isinstance(reply, wire.Accepted):
            self._take_acceptance(reply, frame, latency)
        else:
            self._take_refusal(reply, frame)
        self.wake()

    def _refuse_answer(self, why: str) -> NoReturn:
        error = f"what listens there is no receiver of ours: its answer is {why}"
        self._reject(self._sent, error)
        raise _DisconnectError(error)

    def _take_pending(self) -> tuple[Frame | None, float | None]:
        if not self._pending:
            return None, None
        frame, sent_at = self._pending.popleft()
        if not self._pending:
            self._reading.deadline = float("inf")
            self._silent = False
        return frame, time.perf_counter() - sent_at

    def _take_request(self, request: wire.RefreshRequest) -> None:
        reason = self._outlet.on_refresh_request(request.serial)
        if reason is None or self._is_news():
            self._outlet.log.info(
                "a receiver asks for a refresh",
                path=str(self.path),
                serial=request.serial,
                refused=reason,
            )
        if reason is not None:
            self._refusal = wire.encode_refresh_refused(reason)
            self.wake()

    def _is_news(self) -> bool:
        # A program whose token is not why its API refuses asks at every call.
        now = self._outlet.clock.boot()
        if now < self._news_from:
            return False
        self._news_from = now + FIRST_REQUEST_GAP
        return True

    def _take_acceptance(
        self, reply: wire.Accepted, frame: Frame | None, latency: float | None
    ) -> None:
        if frame is None:
            return
        self._pauses = _pauses()
        self._outlet.meter.delivered(latency)
        self._update(
            generation=reply.generation,
            serial=frame.serial,
            delivered_at=self._outlet.clock.wall(),
            latency=latency,
        )
        self._outlet.log.info(
            "delivered",
            path=str(self.path),
            pid=self.state.pid,
            program=self.state.program,
            serial=frame.serial,
            generation=reply.generation,
            latency_us=None if latency is None else round(latency * 1e6),
        )
        self._finish(frame, None)

    def _take_refusal(self, reply: wire.Refused, frame: Frame | None) -> None:
        error = ": ".join(filter(None, ("refused", reply.code, reply.detail)))
        self._outlet.meter.rejected(reply.code)
        if reply.code == "busy":
            self._note(error)
            raise _DisconnectError(error)
        if frame is None or reply.code == "timeout":
            self._note(error)
        elif reply.code in _FINAL_REFUSALS:
            self._reject(frame, error)
        elif reply.serial is not None and reply.serial > HIGHEST_SERIAL_FOLLOWED:
            self._finish(frame, f"{error}. {self._way_down(reply.serial)}")
        elif self._must_jump(reply):
            self._note(error)
        else:
            self._finish(frame, error)

    def _must_jump(self, reply: wire.Refused) -> bool:
        """Ask for a serial above the receiver's, unless a newer token is on its way already."""
        raise_serial, newest = self._outlet.raise_serial, self._outlet.frame
        if raise_serial is None or reply.serial is None or newest is None:
            return False
        if reply.serial < newest.serial:
            return False
        raise_serial(reply.serial)
        return True

    def _way_down(self, serial: int) -> str:
        return (
            f"It holds serial {serial}, higher than any of a sender's, and takes no lower one. "
            "Send it the token without a serial, then it takes the next ones too: tokenrelay show "
            f"{self._outlet.account_name} | tokenrelay send - --force --to {quote(str(self.path))}"
        )

    def _reject(self, frame: Frame | None, error: str) -> None:
        if frame is not None:
            self._rejected = (frame, self.state.pid)
        self._finish(frame, error)

    def _finish(self, frame: Frame | None, error: str | None) -> None:
        self._finished = frame
        self._note(error)

    def _note(self, error: str | None) -> None:
        if error is not None and error != self.state.error:
            self._outlet.log.warning("receiver not served", path=str(self.path), error=error)
        self._update(error=error)

    def _update(self, **changes: Any) -> None:
        self.state = replace(self.state, **changes)
        self._outlet.on_change()


def _pauses() -> Iterator[float]:
    pause = FIRST_PAUSE
    while True:
        yield pause
        pause = min(2 * pause, LONGEST_PAUSE)
