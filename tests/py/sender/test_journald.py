"""The journal's native protocol, with a socket in the journal's place."""

from __future__ import annotations

import io
import os
import socket
import struct
from typing import TYPE_CHECKING

import pytest
import structlog

from tokenrelay.sender import journald, logs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def parse(record: bytes) -> dict[str, str]:
    fields = {}
    while record:
        name, _, rest = record.partition(b"\n")
        (length,) = struct.unpack_from("<Q", rest)
        fields[name.decode()] = rest[8 : 8 + length].decode()
        assert rest[8 + length : 9 + length] == b"\n"
        record = rest[9 + length :]
    return fields


@pytest.fixture
def journal(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A journal, to which this process's log goes."""
    path = short_path / "journal"
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener,
        (short_path / "stream").open("w") as stream,
    ):
        listener.bind(str(path))
        listener.settimeout(10)
        status = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        monkeypatch.setattr(journald, "JOURNAL", str(path))
        logs.configure_logs(log_format="json", level="info", stream=stream)
        yield listener
    structlog.reset_defaults()


def test_a_record_has_fields_and_a_priority(journal: socket.socket) -> None:
    logs.get_log(account="main").warning("refresh failed", error="503", failures=2)
    assert parse(journal.recv(65_536)) == {
        "MESSAGE": "refresh failed account=main error=503 failures=2",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "tokenrelay",
        "TOKENRELAY_EVENT": "refresh failed",
        "TOKENRELAY_ACCOUNT": "main",
        "TOKENRELAY_ERROR": "503",
        "TOKENRELAY_FAILURES": "2",
    }


def test_a_value_cannot_become_a_field(journal: socket.socket) -> None:
    logs.get_log().info("x", **{"odd name": "a\nPRIORITY=0\n"})
    fields = parse(journal.recv(65_536))
    assert fields["TOKENRELAY_ODD_NAME"] == "a\nPRIORITY=0\n"
    assert fields["PRIORITY"] == "6"


def test_a_traceback_is_part_of_the_message_and_a_secret_is_not(journal: socket.socket) -> None:
    logs.redactor.register("canary-secret", owner="main")
    try:
        raise ValueError("canary-secret")
    except ValueError:
        logs.get_log().exception("failed")
    record = journal.recv(65_536)
    assert "Traceback" in parse(record)["MESSAGE"]
    assert b"canary" not in record


def test_what_the_journal_does_not_take_goes_to_standard_error(
    journal: socket.socket, short_path: Path
) -> None:
    (short_path / "journal").unlink()
    logs.get_log(account="main").info("here")
    assert (short_path / "stream").read_text() == "here account=main\n"


def test_a_journal_that_takes_nothing_more_holds_nobody_up(
    journal: socket.socket, short_path: Path
) -> None:
    for number in range(10_000):
        logs.get_log().info("record", number=number)
    assert parse(journal.recv(65_536))["TOKENRELAY_NUMBER"] == "0"
    assert (short_path / "stream").read_text() == ""


@pytest.mark.parametrize("variable", ["", "0:0"])
def test_another_stream_is_not_the_journal(variable: str, short_path: Path) -> None:
    with (short_path / "stream").open("w") as stream:
        assert not journald.is_journal(stream, {"JOURNAL_STREAM": variable})
    assert not journald.is_journal(io.StringIO(), {"JOURNAL_STREAM": variable})
