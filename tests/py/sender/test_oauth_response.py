from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sender_support import NOW, granted

from tokenrelay.sender.oauth_response import Kind, classify, lost_answer, presentable

GRANTED, UNDONE, AMBIGUOUS = Kind.GRANTED, Kind.UNDONE, Kind.AMBIGUOUS
REFUSED, MISCONFIGURED = Kind.REFUSED, Kind.MISCONFIGURED
HTML = b"<html>Access Denied</html>"
SCHWAB_DEAD = {
    "error": "unsupported_token_type",
    "error_description": '400 Bad Request: "{"error":"refresh_token_authentication_error"}"',
}


def encoded(body: Any) -> bytes | None:
    return body if body is None or isinstance(body, bytes) else json.dumps(body).encode()


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, granted(1), GRANTED),
        (200, granted(1, token_type="BEARER"), GRANTED),
        (200, granted(1, token_type=None), GRANTED),
        (200, granted(1, refresh_token=None), GRANTED),
        (200, granted(1, refresh_token=""), GRANTED),
        (200, granted(1, token_type="mac"), AMBIGUOUS),
        (200, granted(1, access_token=None), AMBIGUOUS),
        (200, granted(1, access_token="a b"), AMBIGUOUS),
        (200, granted(1, access_token="a\r\nX: y"), AMBIGUOUS),
        (200, granted(1, error="x"), AMBIGUOUS),
        (200, granted(1, refresh_token=7), AMBIGUOUS),
        (200, granted(1, refresh_token="a\n"), AMBIGUOUS),
        (200, granted(1, refresh_token="x" * 20_000), AMBIGUOUS),
        (200, HTML, AMBIGUOUS),
        (200, b"", AMBIGUOUS),
        (200, None, AMBIGUOUS),
        (200, b"[1]", AMBIGUOUS),
        (200, b"[" * 60_000, AMBIGUOUS),
        (204, b"", AMBIGUOUS),
        (302, b"", AMBIGUOUS),
        (408, b"", AMBIGUOUS),
        (500, HTML, AMBIGUOUS),
        (502, {"error": "invalid_grant"}, AMBIGUOUS),
        (503, b"", AMBIGUOUS),
        (504, b"", AMBIGUOUS),
        (429, b"", UNDONE),
        (429, {"error": "invalid_grant"}, UNDONE),
        (400, {"error": "temporarily_unavailable"}, UNDONE),
        (400, {"error": "server_error"}, UNDONE),
        (400, {"error": "internal_failure"}, UNDONE),
        (400, {"error": "access_denied", "error_description": "Too many requests"}, UNDONE),
        (400, {"error": "something_new"}, UNDONE),
        (400, {"error": 7}, UNDONE),
        (400, {"message": "no"}, UNDONE),
        (400, HTML, UNDONE),
        (401, b"", UNDONE),
        (403, HTML, UNDONE),
        (404, HTML, UNDONE),
        (400, None, UNDONE),
        (400, {"error": "invalid_grant"}, REFUSED),
        (401, {"error": "invalid_grant", "error_description": "expired"}, REFUSED),
        (400, SCHWAB_DEAD, REFUSED),
        (401, {"error": "invalid_client", "error_description": "refresh token invalid"}, REFUSED),
        (401, {"error": "invalid_client"}, MISCONFIGURED),
        (400, {"error": "unauthorized_client"}, MISCONFIGURED),
        (400, {"error": "unsupported_grant_type"}, MISCONFIGURED),
        (400, {"error": "invalid_request"}, MISCONFIGURED),
        (400, {"error": "invalid_scope"}, MISCONFIGURED),
    ],
)
def test_outcome_of_an_answer(status: int, body: Any, kind: Kind) -> None:
    assert classify(status, {}, encoded(body), NOW).kind is kind


@pytest.mark.parametrize(
    ("value", "lifetime"),
    [(1800, 1800), ("1800", 1800), (1800.9, 1800), (1, 1), (10, 10), (2**31, 86_400),
     (2**63, 86_400), (0, None), (-5, None), (0.5, None), (True, None), ("soon", None), ("", None),
     (None, None), ([], None), ("9" * 30, None)],
)  # fmt: skip
def test_lifetime_is_kept_clamped_or_left_to_the_default(value: Any, lifetime: int | None) -> None:
    outcome = classify(200, {}, encoded(granted(1, expires_in=value)), NOW)
    assert outcome.token is not None
    assert outcome.token.expires_in == lifetime


def test_refresh_token_in_a_useless_answer_is_rescued() -> None:
    for status, body in ((200, granted(1, error="x")), (500, granted(1)), (302, granted(1))):
        assert classify(status, {}, encoded(body), NOW).rescued == "refresh-1"


def test_refresh_token_is_rescued_from_every_cut_after_it() -> None:
    whole = json.dumps(granted(1)).encode()
    end = whole.index(b'"refresh-1"') + len(b'"refresh-1"')
    for cut in range(len(whole)):
        outcome = lost_answer("cut", sent=True, status=200, partial=whole[:cut])
        assert outcome.kind is AMBIGUOUS
        assert outcome.rescued == ("refresh-1" if cut >= end else None)


def test_nothing_is_rescued_from_a_page_or_a_failure() -> None:
    page = b'<pre>{"refresh_token": "example"}</pre>'
    assert lost_answer("cut", sent=True, status=200, partial=page).rescued is None
    assert lost_answer("cut", sent=True, status=502, partial=page[5:]).rescued is None


def test_request_that_never_left_was_not_done() -> None:
    outcome = lost_answer("ConnectError: refused", sent=False)
    assert (outcome.kind, outcome.unsent) == (UNDONE, True)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("120", 120), ("Tue, 14 Nov 2023 22:14:20 GMT", 60), ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
     ("soon", None), ("-1", None), ("1e3", None), ("999999999", 86_400), ("", None)],
)  # fmt: skip
def test_retry_after_in_both_forms(header: str, seconds: float | None) -> None:
    outcome = classify(429, {"retry-after": header}, b"", NOW)
    assert outcome.retry_after == seconds


def test_error_text_is_one_short_line_without_what_was_sent() -> None:
    body = {
        "error": "invalid_grant",
        "error_description": f"\x1b[31m{'x' * 190}canary-secret\n" * 9,
    }
    detail = presentable(classify(400, {}, encoded(body), NOW), ["canary-secret", ""]).detail
    assert detail.isprintable()
    assert len(detail) <= 200
    assert "canary" not in detail


def test_no_text_form_shows_a_token() -> None:
    outcome = classify(200, {}, encoded(granted(1)), NOW)
    assert "access-1" not in repr(outcome)
    assert "refresh-1" not in repr(outcome)


@given(st.integers(100, 599), st.binary(max_size=300))
def test_any_answer_has_an_outcome(status: int, body: bytes) -> None:
    outcome = classify(status, {}, body, NOW)
    assert outcome.kind is not GRANTED or outcome.token is not None
