"""The golden frames of tests/vectors/wire.json: over a real socket, and as the sender writes them.

Cases whose steps name a time need the receiver's clock; tests/cpp/test_vectors.cpp runs those too.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tokenrelay import TokenReceiver
from tokenrelay.sender import wire
from tokenrelay.sender.tokens import TokenSet

if TYPE_CHECKING:
    from collections.abc import Iterator

Case = dict[str, Any]

VECTORS = Path(__file__).parent.parent / "vectors" / "wire.json"
CASES: list[Case] = json.loads(VECTORS.read_text(encoding="utf-8"))
REAL_TIME_CASES = [case for case in CASES if all("now" not in step for step in case["steps"])]
REPLIES = [
    pytest.param(step["reply"], id=case["name"])
    for case in CASES
    for step in case["steps"][-1:]
    if step["reply"] is not None
]
PATIENCE = 10.0


def named(case: Case) -> str:
    return str(case["name"])


def frame_bytes(step: Case) -> bytes:
    if "send_hex" in step:
        return bytes.fromhex(step["send_hex"])
    if "send_parts" in step:
        return b"".join(text.encode() * times for text, times in step["send_parts"])
    return bytes(step["send"].encode())


class Peer:
    """A sender's end that connects anew whenever the receiver has closed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket: socket.socket | None = None

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def exchange(self, step: Case) -> bytes:
        """Send the step's bytes; its one answer, if it has one."""
        connection = self._connection()
        connection.sendall(frame_bytes(step))
        if step.get("half_close"):
            connection.shutdown(socket.SHUT_WR)
        return self._lines.readline() if step["reply"] is not None else b""

    def finish(self) -> bytes:
        """Half-close; what the receiver says then, which makes it close."""
        self._connection().shutdown(socket.SHUT_WR)
        return self.rest()

    def rest(self) -> bytes:
        """What the receiver says until it closes."""
        try:
            return self._lines.read()
        except ConnectionResetError:  # closed with bytes of ours unread
            return b""
        finally:
            self._close()

    def _connection(self) -> socket.socket:
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.settimeout(PATIENCE)
            self._socket.connect(str(self.path))
            self._lines = self._socket.makefile("rb")
        return self._socket

    def _close(self) -> None:
        if self._socket is not None:
            self._lines.close()
            self._socket.close()
            self._socket = None


def check_reply(step: Case, line: bytes) -> None:
    if step["reply"] is None:
        assert line == b""
        return
    reply = json.loads(line)
    detail = reply.pop("detail", "")
    assert reply == step["reply"]
    assert step.get("detail_contains", "") in detail


def check_token(receiver: TokenReceiver, expected: Case | None) -> None:
    token = receiver.token
    if expected is None:
        assert token is None
        return
    assert {key: getattr(token, key) for key in expected} == expected


@pytest.fixture
def receiver_path(short_path: Path) -> Iterator[Path]:
    return short_path / "s"


@pytest.mark.parametrize("case", REAL_TIME_CASES, ids=named)
def test_the_receiver_answers_as_the_vectors_say(case: Case, receiver_path: Path) -> None:
    options = case.get("options", {})
    with TokenReceiver(path=receiver_path, **options) as receiver, Peer(receiver_path) as peer:
        for step in case["steps"]:
            check_reply(step, peer.exchange(step))
            if step.get("closes"):
                assert peer.rest() == b""
        assert peer.finish() == b""
        check_token(receiver, case["token"])


@pytest.mark.parametrize("reply", REPLIES)
def test_the_sender_understands_every_reply(reply: Case) -> None:
    line = json.dumps({**reply, "detail": "why"}).encode() + b"\n"
    expected: object
    if reply["ok"]:
        expected = wire.Accepted(reply["generation"])
    else:
        expected = wire.Refused(reply["error"], "why", reply.get("serial"))
    assert wire.parse_reply(line) == expected


def is_sendable(token: Case) -> bool:
    return bool(token.get("serial") and token.get("expires_at"))


SENDABLE = [case for case in REAL_TIME_CASES if is_sendable(case["token"] or {})]


@pytest.mark.parametrize("case", SENDABLE, ids=named)
def test_what_the_sender_encodes_is_what_the_receiver_holds(
    case: Case, receiver_path: Path
) -> None:
    fields = dict(case["token"])
    account = fields.pop("account", None)
    fields.pop("generation")
    token = TokenSet(**fields)
    with (
        TokenReceiver(path=receiver_path, keep_refresh_token=True) as receiver,
        Peer(receiver_path) as peer,
    ):
        frame = wire.encode(token, account=account, include_refresh_token=True)
        line = peer.exchange({"send": frame.decode("ascii"), "reply": {}})
        assert wire.parse_reply(line) == wire.Accepted(1)
        check_token(receiver, {**case["token"], "generation": 1})


BARE = [
    case["token"]["access_token"]
    for case in REAL_TIME_CASES
    if len(case["steps"]) == 1
    and case["steps"][0].get("closes")
    and "access_token" in case["token"]
]


@pytest.mark.parametrize("text", BARE)
def test_a_bare_token_of_the_sender_is_one_line(text: str, receiver_path: Path) -> None:
    with TokenReceiver(path=receiver_path) as receiver, Peer(receiver_path) as peer:
        line = peer.exchange({"send": wire.encode_bare(text).decode(), "reply": {}})
        assert wire.parse_reply(line) == wire.Accepted(1)
        check_token(receiver, {"access_token": text})
