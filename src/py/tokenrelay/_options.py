"""The options of `TokenReceiver`: each is checked when it is given, and named where it is wrong."""

from __future__ import annotations

import ctypes
import inspect
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

Value = TypeVar("Value")

SPIN_BOUND = 1.0
"""Seconds of spinning after the last frame that ``busy_poll=True`` means."""

MOST_MODE = 0o777
NATIVE_FUNCTION: Any = ctypes.CFUNCTYPE(None).__mro__[1]
"""What ctypes derives its function pointers from, those of loaded libraries included."""


def account_name(account: str | None) -> str:
    """The account's name; `TokenReceiver.start` checks how it is spelt."""
    return "default" if account is None else _checked("account", account, str, "a name")


def absolute(path: str | os.PathLike[str] | None) -> str:
    """The path as it is meant now, for a program that changes its directory later; "" for None."""
    if path is None:
        return ""
    text = os.fspath(_checked("path", path, (str, os.PathLike), "a str or an os.PathLike"))
    if not text:
        raise ValueError("path: empty. Leave it out to listen for an account")
    return str(Path(text).absolute())


def spin_seconds(busy_poll: bool | float) -> float:
    """Seconds to spin after the last frame."""
    if busy_poll is True:
        return SPIN_BOUND
    seconds = _checked("busy_poll", busy_poll, (int, float), "True, False or a number of seconds")
    if not 0 <= seconds < 10**9:
        raise ValueError(f"busy_poll: {seconds!r} is not True, False or a number of seconds")
    return float(seconds)


def processor(cpu: int | None) -> int:
    """The processor's number; -1 for None."""
    if cpu is None:
        return -1
    count = os.sysconf("SC_NPROCESSORS_CONF")
    if not 0 <= _checked("cpu", cpu, int, "the number of a processor") < count:
        raise ValueError(f"cpu: {cpu!r} is not one of this machine's processors, 0 to {count - 1}")
    return cpu


def user_ids(allow_uids: Iterable[int]) -> list[int]:
    """The users who may deliver besides our own."""
    wanted = "an iterable of user ids, such as [1000]"
    if isinstance(allow_uids, str) or not hasattr(allow_uids, "__iter__"):
        raise TypeError(f"allow_uids: {wanted}, not {type(allow_uids).__name__}")
    found = [_checked("allow_uids", uid, int, wanted) for uid in allow_uids]
    if any(not 0 <= uid < 2**32 for uid in found):
        raise ValueError(f"allow_uids: {found!r} are not all user ids")
    return found


def file_mode(mode: int) -> int:
    """The mode of the socket's file."""
    if not 0 <= _checked("mode", mode, int, "a number such as 0o600") <= MOST_MODE:
        raise ValueError(f"mode: {mode:#o} is not a mode of a file, 0o000 to {MOST_MODE:#o}")
    return mode


def flag(name: str, value: bool) -> bool:
    """True or False itself: another value could be meant either way."""
    return _checked(name, value, bool, "True or False")


def is_capsule(function: object) -> bool:
    """Whether ``on_native`` is a PyCapsule, a type that has no name in Python before 3.13."""
    return type(function).__name__ == "PyCapsule"


def native_address(function: Any) -> int:
    """The address of a ctypes function pointer."""
    if not isinstance(function, NATIVE_FUNCTION):
        # A number or a string would be taken for an address, and the process end at a token.
        raise TypeError(
            f"on_native: a ctypes function pointer or a PyCapsule, not {type(function).__name__}. "
            "A function of Python's goes to subscribe()"
        )
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def checked_callback(callback: Any) -> Any:
    """``callback`` itself, if it is a function that can be called from a thread."""
    if not callable(callback):
        raise TypeError(
            f"callback: a function of one Token, not {type(callback).__name__}. Give the function "
            "itself, without calling it"
        )
    if inspect.iscoroutinefunction(callback):
        raise TypeError(
            "callback: an async function, which nobody would await. In asyncio: "
            "async for token in receiver.updates()"
        )
    return callback


def program_name() -> str:
    """What this program is called in the name of its socket."""
    return Path(sys.argv[0]).stem if sys.argv and sys.argv[0] else "python"


def _checked(name: str, value: Value, kind: type | tuple[type, ...], wanted: str) -> Value:
    if not isinstance(value, kind):
        raise TypeError(f"{name}: {wanted}, not {type(value).__name__}")
    return value
