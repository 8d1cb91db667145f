"""tokenrelay: a running program always holds a valid OAuth access token.

>>> from tokenrelay import TokenReceiver
>>> with TokenReceiver("schwab") as receiver:
...     token = receiver.wait(timeout=10)
...     headers = {"Authorization": token.authorization}

The receiver half has no dependency; the sender and the command are the extra ``sender``.
"""

from __future__ import annotations

from ._core import Token
from ._stats import ReceiverStats
from .errors import (
    ForkedReceiver,
    ReceiverError,
    ReceiverStopped,
    TokenExpired,
    TokenRelayError,
    TokenTimeout,
)
from .receiver import Subscription, TokenReceiver

__all__ = [
    "ForkedReceiver",
    "ReceiverError",
    "ReceiverStats",
    "ReceiverStopped",
    "Subscription",
    "Token",
    "TokenExpired",
    "TokenReceiver",
    "TokenRelayError",
    "TokenTimeout",
]


def __getattr__(name: str) -> str:
    if name == "__version__":
        from importlib.metadata import version

        return version("tokenrelay")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
