from __future__ import annotations

import json

import pytest

from tokenrelay.sender.tokens import TokenSet
from tokenrelay.sender.wire import (
    Accepted,
    RefreshRequest,
    Refused,
    encode,
    encode_bare,
    encode_refresh_refused,
    parse_reply,
)

TOKEN = TokenSet(
    "abc", 4_102_444_800, refresh_token="canary", serial=9, issued_at=5, grant_expires_at=6,
    scope="read é", token_url="https://example.com/", client_id="me",
)  # fmt: skip


def test_frame_is_one_ascii_line_without_refresh_token_or_binding() -> None:
    frame = encode(TOKEN, account="schwab")
    assert frame.isascii()
    assert frame.endswith(b"}\n")
    assert frame.count(b"\n") == 1
    assert json.loads(frame) == {
        "access_token": "abc", "token_type": "Bearer", "expires_at": 4_102_444_800, "serial": 9,
        "issued_at": 5, "grant_expires_at": 6, "scope": "read é", "account": "schwab",
    }  # fmt: skip


def test_refresh_token_travels_only_when_asked() -> None:
    assert json.loads(encode(TOKEN, include_refresh_token=True))["refresh_token"] == "canary"


def test_what_is_unknown_is_left_out() -> None:
    frame = json.loads(encode(TokenSet("abc", 4_102_444_800)))
    assert sorted(frame) == ["access_token", "expires_at", "token_type"]


@pytest.mark.parametrize(
    "token",
    [
        TokenSet("", 4_102_444_800),
        TokenSet("a b", 4_102_444_800),
        TokenSet("a\n", 4_102_444_800),
        TokenSet("é", 4_102_444_800),
        TokenSet("a" * 16_385, 4_102_444_800),
        TokenSet("a", 1_700_000_000_000),
        TokenSet("a", 0),
        TokenSet("a", 4_102_444_800, refresh_token="b c"),
        TokenSet("a", 4_102_444_800, scope="s" * 66_000),
        TokenSet("a", 4_102_444_800, serial=-1),
        TokenSet("a", 4_102_444_800, serial=2**53),
    ],
)
def test_what_a_receiver_would_refuse_is_not_sent(token: TokenSet) -> None:
    with pytest.raises(ValueError, match=r"bytes|seconds|serial"):
        encode(token, include_refresh_token=True)


def test_largest_tokens_fit_a_frame() -> None:
    token = TokenSet("\\" * 16_384, 4_102_444_800, refresh_token='"' * 16_384)
    assert len(encode(token)) <= 65_536
    with pytest.raises(ValueError, match="65536"):
        encode(token, include_refresh_token=True)


def test_bare_token_is_the_token_and_a_newline() -> None:
    assert encode_bare("test_token_abc123") == b"test_token_abc123\n"
    with pytest.raises(ValueError, match="begin with"):
        encode_bare("{abc")


def test_refusal_of_a_refresh_is_one_line() -> None:
    assert encode_refresh_refused("later") == b'{"refresh":"refused","reason":"later"}\n'


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b'{"ok":true,"generation":3}\n', Accepted(3)),
        (b'{"ok":true,"generation":3,"new":"key"}', Accepted(3)),
        (b'{"ok":false,"error":"stale","detail":"d","serial":8}', Refused("stale", "d", 8)),
        (b'{"ok":false,"error":"busy","detail":""}', Refused("busy", "", None)),
        (b'{"request":"refresh","serial":12}', RefreshRequest(12)),
    ],
)
def test_replies_are_told_apart(line: bytes, reply: object) -> None:
    assert parse_reply(line) == reply


@pytest.mark.parametrize(
    "line",
    [
        b"", b"\n", b"OK", b"[]", b"1", b"null", b"{}", b'{"ok":true}', b'{"ok":1,"generation":1}',
        b'{"ok":true,"generation":true}', b'{"ok":true,"generation":1.5}',
        b'{"ok":true,"generation":-1}', b'{"ok":true,"generation":1e400}',
        b'{"ok":false,"error":7}', b'{"ok":false,"error":"stale","serial":"8"}',
        b'{"ok":false,"error":"x","detail":[]}', b'{"request":"refresh"}',
        b'{"request":"login","serial":1}', b'{"request":"refresh","serial":9007199254740992}',
        b'\xff{"ok":true,"generation":3}', b'{"ok":true,"generation":3}{', b"[" * 4000,
        b'{"ok":' + b"[" * 4000,
    ],
)  # fmt: skip
def test_anything_else_is_no_reply(line: bytes) -> None:
    with pytest.raises(ValueError, match="not a reply"):
        parse_reply(line)
