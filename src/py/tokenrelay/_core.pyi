"""The native receiver of tokenrelay."""

from collections.abc import Sequence
from typing import Any, Never


class Token:
    """
    One immutable snapshot of a delivered token.

    Never shows the secret in repr() or str(), and can't be pickled.
    """

    @property
    def access_token(self) -> str:
        """The secret itself."""

    @property
    def authorization(self) -> str:
        """
        ``Bearer …``: the value of an Authorization header (RFC 6750 section 2.1).
        """

    @property
    def refresh_token(self) -> str | None:
        """None unless the sender sends it and the receiver keeps it."""

    @property
    def scope(self) -> str | None:
        """Scopes, separated by spaces (RFC 6749 section 3.3)."""

    @property
    def account(self) -> str | None:
        """The sender's name for the login."""

    @property
    def expires_at(self) -> int:
        """Unix seconds."""

    @property
    def expires_in(self) -> float:
        """
        Seconds left, by the wall clock or since boot, whichever says less; negative once expired.
        """

    @property
    def expired(self) -> bool:
        """Whether its time is over."""

    @property
    def issued_at(self) -> int | None:
        """Unix seconds, or None."""

    @property
    def grant_expires_at(self) -> int | None:
        """When the login itself ends, Unix seconds, or None."""

    @property
    def generation(self) -> int:
        """Counts the publications of its receiver, from 1."""

    @property
    def serial(self) -> int | None:
        """The sender's order of issue, or None."""

    @property
    def received_at_ns(self) -> int:
        """When its last byte was read: nanoseconds of CLOCK_BOOTTIME."""

    def __repr__(self) -> str: ...

    def __reduce__(self) -> Never: ...

class Receiver:
    """The native half of TokenReceiver."""

    def __init__(self, *, account: str, path: str, program: str, busy_poll: float, cpu: int, allow_uids: Sequence[int], mode: int, keep_refresh_token: bool) -> None: ...

    @property
    def token(self) -> Token | None:
        """The newest Token, or None before the first. Never blocks."""

    def _start(self) -> None: ...

    def _stop(self, timeout: float) -> bool:
        """False if a callback still runs."""

    def _wait(self, timeout: float, after: int) -> str: ...

    def _subscribe(self, callback: object) -> int: ...

    def _unsubscribe(self, id: int) -> None: ...

    def _request_refresh(self, token: Token) -> None: ...

    def _after_fork(self) -> None: ...

    def _stats(self) -> dict[str, Any]: ...

    @property
    def running(self) -> bool:
        """Whether it listens."""

    @property
    def forked(self) -> bool:
        """Whether this process was forked from the one that started it."""

    @property
    def path(self) -> str:
        """The socket's path; empty before the first start()."""

    def _subscribe_address(self, address: int) -> NativeSubscription: ...

    def _subscribe_capsule(self, capsule: object) -> NativeSubscription: ...

    def _subscribe_fd(self, fd: int) -> NativeSubscription: ...

class NativeSubscription:
    """A callback that runs without the interpreter."""

    def cancel(self) -> None:
        """End it. Returns when it no longer runs. Idempotent."""

def _close_interpreter() -> None: ...

class _Stamps:
    """When each frame was read and its callback entered, ns."""

    def __init__(self, capacity: int) -> None: ...

    def subscribe(self, receiver: Receiver) -> None: ...

    def take(self, token: Token) -> None: ...

    def cancel(self) -> None: ...

    @property
    def received(self) -> list[int]: ...

    @property
    def entered(self) -> list[int]: ...

class _Floor:
    """A property that returns a cached object."""

    def __init__(self, cached: object) -> None: ...

    @property
    def token(self) -> object: ...

def _send_frames(fd: int, frame: bytes, serial: int, count: int, gap_ns: int, acknowledged: int, spin: bool) -> list[int]: ...

def _publish_frames(receiver: Receiver, stamps: _Stamps, fd: int, frame: bytes, serial: int, count: int, gap_ns: int) -> list[int]: ...

def _receive_bare(listener: int, stamps: _Stamps, answers: _Stamps, spin: bool) -> None: ...

def _stamp_follow_ups(receiver: Receiver, stamps: _Stamps, acknowledge: int) -> None: ...

def _read_tokens(receiver: Receiver, batches: int, batch: int) -> tuple[list[float], list[float], list[float]]: ...
