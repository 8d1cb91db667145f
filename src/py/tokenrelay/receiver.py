"""`TokenReceiver`: the newest access token of an account, in this process."""

from __future__ import annotations

import atexit
import math
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

from . import _core, _options
from ._bell import Bell, stopped
from ._stats import ReceiverStats
from .errors import ReceiverStopped, TokenTimeout

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from types import TracebackType
    from typing import Self

    from ._core import Token

EXIT_TIMEOUT = 1.0
"""Seconds that a running callback gets at interpreter exit."""

# By id, for its valuerefs(), which other threads can't disturb.
_receivers: weakref.WeakValueDictionary[int, TokenReceiver] = weakref.WeakValueDictionary()


class Subscription:
    """A callback that hears of new tokens until `cancel`. Made by `TokenReceiver.subscribe`."""

    __slots__ = ("_id", "_receiver")

    def __init__(self, receiver: TokenReceiver, identifier: int) -> None:
        self._receiver = receiver
        self._id = identifier

    def cancel(self) -> None:
        """End it. Idempotent; from any thread.

        Blocks until the callback no longer runs, except when called from inside it.
        """
        self._receiver._unsubscribe(self._id)


class TokenReceiver(_core.Receiver):
    """Listens on a Unix socket for the tokens of one account.

    Every method may be called from any thread. `token` is a pointer compare: it never blocks, takes
    no lock, and may be a token that has expired by now; `wait`, `next` and `updates` give valid
    ones only. Nothing here reads a file, speaks HTTP or knows the refresh token.

    After a fork the child has no token and no descriptor of its parent's: what would give a token
    raises `ForkedReceiver` there until it calls `start`. The parent's receiver goes on. At the
    interpreter's exit a running callback gets 1 s, then its thread is left asleep.

    Args:
        account: binds a socket of its own below the account's runtime directory, where a sender
            finds it.
        path: binds this path instead, at most 107 bytes, unix(7); one receiver at a time owns it.
            Where systemd listens there for this process, its socket is taken over,
            sd_listen_fds(3).
        busy_poll: spin instead of sleeping, a core for microseconds; True, or the seconds after
            the last frame before sleeping.
        cpu: pin the receiver's threads to this processor.
        allow_uids: users who may deliver besides our own. Root is no exception.
        mode: of the socket's file, as chmod(2) has it.
        keep_refresh_token: else a refresh token that arrives is wiped at once.
        on_native: a function called on the native thread without the interpreter, before the
            sender is answered: a ctypes function pointer, or a PyCapsule named
            ``tokenrelay.native_callback``, of the C type ``void (const char *authorization,
            size_t size, int64_t expires_at, uint64_t generation, void *context)``.

    Raises:
        ValueError: both account and path are given, or an option is out of range.
        TypeError: an option is of another type.
    """

    def __init__(
        self,
        account: str | None = None,
        *,
        path: str | os.PathLike[str] | None = None,
        busy_poll: bool | float = False,
        cpu: int | None = None,
        allow_uids: Iterable[int] = (),
        mode: int = 0o600,
        keep_refresh_token: bool = False,
        on_native: Any = None,
    ) -> None:
        if account is not None and path is not None:
            raise ValueError("give an account or a path, not both: a path needs no account")
        super().__init__(
            account=_options.account_name(account),
            path=_options.absolute(path),
            program=_options.program_name(),
            busy_poll=_options.spin_seconds(busy_poll),
            cpu=_options.processor(cpu),
            allow_uids=_options.user_ids(allow_uids),
            mode=_options.file_mode(mode),
            keep_refresh_token=_options.flag("keep_refresh_token", keep_refresh_token),
        )
        self._bells: set[Bell] = set()
        self._bells_lock = threading.Lock()  # a bell is rung only while its descriptor is open
        self._native_function = on_native  # ctypes needs the object alive
        self._native = None if on_native is None else self._subscribe_native(on_native)

    def start(self) -> Self:
        """Bind the socket and begin to listen. Idempotent; takes microseconds.

        Raises:
            ReceiverError: with the cause and the cure, and ``errno``: the path is in use, too
                long or not writable, or its directory is open to others.
        """
        self._start()
        _receivers[id(self)] = self
        return self

    def stop(self) -> None:
        """End the threads and remove the socket; the newest token stays readable. Idempotent.

        Waits for a running callback, except when called from one.
        """
        try:
            self._stop(-1.0)
        finally:
            with self._bells_lock:
                for bell in self._bells:
                    bell.ring()

    def wait(self, timeout: float | None = None, *, after: Token | None = None) -> Token:
        """The newest valid token, newer than ``after`` if given.

        Blocks, without the interpreter, up to ``timeout`` seconds; None waits for ever. Ctrl-C
        and other signals are heard meanwhile.

        Raises:
            TokenTimeout: no such token came in time.
            ReceiverStopped: the receiver was stopped or not started.
            ForkedReceiver: in a child that has not called `start`.
        """
        generation = 0 if after is None else after.generation
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            left = deadline - time.monotonic()
            outcome = self._wait(-1.0 if left == math.inf else max(left, 0.0), generation)
            token = self._valid(generation)
            if token is not None:
                return token
            if outcome == "timeout":
                raise _timeout(timeout)
            if outcome == "stopped":
                raise stopped()

    def subscribe(self, callback: Callable[[Token], object]) -> Subscription:
        """Call ``callback(token)`` for each new token, and soon for the newest if there is one.

        Callbacks run on a thread of the receiver's, one at a time, and hear of the newest token
        only. However long one takes, the next token is taken and readable meanwhile; what it
        raises goes to ``sys.unraisablehook`` and is counted.

        A callback is entered less than 10 µs after the last byte was read (p99), while the
        interpreter is idle; a thread that keeps it busy delays that by its switch interval, 5 ms
        (``sys.getswitchinterval``).

        Raises:
            TypeError: ``callback`` cannot be called, or is an async function.
            ReceiverError: no thread can be started for callbacks, ``errno`` EAGAIN.
        """
        return Subscription(self, self._subscribe(_options.checked_callback(callback)))

    def request_refresh(self, token: Token) -> None:
        """Tell the sender that the API refused ``token``: the answer was 401.

        Never blocks; wait for the newer one with ``wait(timeout, after=token)``. Does nothing if
        a newer one is there, or if ``token`` came without a serial, as from ``nc``. A sender
        follows at most one request of an account in 60 s, however many programs ask.

        Raises:
            ForkedReceiver: in a child that has not called `start`.
        """
        self._request_refresh(token)

    @property
    def stats(self) -> ReceiverStats:
        """Counters and latencies as of now. Never blocks."""
        return ReceiverStats(**self._stats())

    async def next(
        self,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - as wait() has it
        after: Token | None = None,
    ) -> Token:
        """`wait` for asyncio, with the same arguments.

        Blocks the coroutine only: the running loop is woken by an eventfd(2), from no foreign
        thread. It may be cancelled at any time.

        Raises:
            TokenTimeout: no such token came in time.
            ReceiverStopped: the receiver was stopped or not started.
        """
        import asyncio

        generation = 0 if after is None else after.generation
        with Bell(self) as bell:
            try:
                async with asyncio.timeout(timeout):
                    return await bell.next_token(generation)
            except TimeoutError:
                raise _timeout(timeout) from None

    async def updates(self) -> AsyncIterator[Token]:
        """Each valid token from the newest on, never a backlog; ends when the receiver stops.

        For asyncio; woken as `next` is. Who is slow gets the newest and misses those between.
        """
        generation = 0
        with Bell(self) as bell:
            while True:
                try:
                    token = await bell.next_token(generation)
                except ReceiverStopped:
                    return
                generation = token.generation
                yield token

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return self.start()  # takes microseconds, and a cancellation can't part it from stop()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        import asyncio

        await asyncio.to_thread(self.stop)

    def __repr__(self) -> str:
        state = "forked" if self.forked else "running" if self.running else "stopped"
        return f"<TokenReceiver {self.path or 'unbound'} {state}>"

    def _valid(self, generation: int) -> Token | None:
        token = self.token
        if token is None or token.generation <= generation or token.expired:
            return None
        return token

    def _subscribe_native(self, function: Any) -> _core.NativeSubscription:
        if _options.is_capsule(function):
            return self._subscribe_capsule(function)
        return self._subscribe_address(_options.native_address(function))


def _timeout(timeout: float | None) -> TokenTimeout:
    return TokenTimeout(
        f"no valid token came within {timeout} s. Is the sender running, and does it have this "
        "account? Type: tokenrelay doctor"
    )


def _started() -> list[TokenReceiver]:
    return [receiver for ref in _receivers.valuerefs() if (receiver := ref()) is not None]


def _stop_all() -> None:
    # Before the interpreter goes: a thread that enters it later would end the process.
    deadline = time.monotonic() + EXIT_TIMEOUT
    try:
        for receiver in _started():
            receiver._stop(0.0)
        for receiver in _started():
            receiver._stop(max(deadline - time.monotonic(), 0.0))
    finally:
        _core._close_interpreter()


def _after_fork() -> None:
    for receiver in _started():
        receiver._after_fork()
        receiver._bells_lock = threading.Lock()
        bells, receiver._bells = receiver._bells, set()
        for bell in bells:
            bell.close_after_fork()


atexit.register(_stop_all)
os.register_at_fork(after_in_child=_after_fork)
