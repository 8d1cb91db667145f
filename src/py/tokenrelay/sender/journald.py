"""Logs as journal entries with fields, where systemd connects standard error to its journal.

https://systemd.io/JOURNAL_NATIVE_PROTOCOL/; the fields of a record are TOKENRELAY_NAME, so that
`journalctl TOKENRELAY_ACCOUNT=schwab` finds an account's.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TextIO

    from structlog.typing import EventDict, WrappedLogger

    _Log = Callable[["JournalLogger", bytes], None]

JOURNAL = "/run/systemd/journal/socket"
_DATAGRAM = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
PRIORITIES = {"critical": 2, "error": 3, "warning": 4, "info": 6, "debug": 7}  # syslog(3)
# A datagram larger than the socket's buffer is refused: 212,992 bytes by default, socket(7).
LONGEST_VALUE = 65_536


def is_journal(stream: TextIO, variables: Mapping[str, str]) -> bool:
    """Whether ``stream`` is the one that systemd reads ($JOURNAL_STREAM, systemd.exec(5))."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return variables.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def render(_logger: WrappedLogger, _method: str, event: EventDict) -> bytes:
    """One record in the journal's native form: structlog's last processor."""
    level = str(event.pop("level", "info"))
    event.pop("timestamp", None)  # the journal has its own
    text = str(event.pop("event", ""))
    trace = event.pop("exception", None)
    known = {name: value for name, value in event.items() if value is not None}
    words = [text, *(f"{name}={value}" for name, value in known.items())]
    fields = {
        "MESSAGE": " ".join(words) + (f"\n{trace}" if trace else ""),
        "PRIORITY": str(PRIORITIES.get(level, 6)),
        "SYSLOG_IDENTIFIER": "tokenrelay",
        "TOKENRELAY_EVENT": text,
        **{_field_name(name): str(value) for name, value in known.items()},
    }
    return b"".join(_field(name, value) for name, value in fields.items())


class JournalLogger:
    """Writes rendered records; what the journal refuses goes to ``fallback``, which must not raise.

    Never waits: a record is lost while the journal's queue is full.
    """

    def __init__(self, fallback: Callable[[str], None]) -> None:
        self._fallback = fallback

    def msg(self, record: bytes) -> None:
        # A socket for each: records are rare, and the journal may have been started anew.
        try:
            with socket.socket(socket.AF_UNIX, _DATAGRAM) as connection:
                connection.sendto(record, JOURNAL)
        except BlockingIOError:
            # Standard error is the same journal's, and would wait for it.
            return
        except OSError:
            self._fallback(_message(record))

    debug: ClassVar[_Log] = msg
    info: ClassVar[_Log] = msg
    warning: ClassVar[_Log] = msg
    error: ClassVar[_Log] = msg
    critical: ClassVar[_Log] = msg
    exception: ClassVar[_Log] = msg


def _field_name(name: str) -> str:
    # Capital letters, digits and underscores; at most 64.
    letters = (one if one.isascii() and one.isalnum() else "_" for one in name.upper())
    return f"TOKENRELAY_{''.join(letters)}"[:64]


def _field(name: str, value: str) -> bytes:
    data = value.encode(errors="replace")[:LONGEST_VALUE]
    # A value's length goes before it, so that no line break can begin a field.
    return name.encode() + b"\n" + struct.pack("<Q", len(data)) + data + b"\n"


def _message(record: bytes) -> str:
    """MESSAGE, which `render` puts first."""
    head = len("MESSAGE\n") + 8
    (length,) = struct.unpack_from("<Q", record, len("MESSAGE\n"))
    return record[head : head + length].decode(errors="replace")
