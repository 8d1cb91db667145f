"""What the receiver half raises. Every message says what happened and what to do next."""

from __future__ import annotations


class TokenRelayError(Exception):
    """The base of all that tokenrelay raises."""


class ReceiverError(TokenRelayError, OSError):
    """The receiver could not start: the socket's path, directory or descriptors.

    ``errno`` is the system's reason, as ``EADDRINUSE`` for a path that another receiver owns.
    """


class ReceiverStopped(TokenRelayError):
    """The receiver was stopped while a token was waited for, or never started."""


class ForkedReceiver(TokenRelayError):
    """This process was forked from the receiver's; ``start()`` makes it one of this process."""


class TokenTimeout(TokenRelayError, TimeoutError):
    """No valid token came in time. It is a `TimeoutError` too, so either may be caught."""


class TokenExpired(TokenRelayError):
    """The newest token has expired and no newer one came in time.

    Raised by adapters, which never send an expired token. A receiver itself raises `TokenTimeout`.
    """
