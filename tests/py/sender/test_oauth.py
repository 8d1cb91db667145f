from __future__ import annotations

import base64
import gzip
import json
import socket
import ssl
import subprocess
import sys
import threading
import zlib
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from sender_support import CLOSE, Provider, account, granted, response

from tokenrelay.sender import http_client
from tokenrelay.sender.oauth import TokenEndpoint
from tokenrelay.sender.oauth_response import Kind, Outcome
from tokenrelay.sender.tokens import Secret

if TYPE_CHECKING:
    from pathlib import Path

EVIL = {"issuer": "https://evil.example"}


def refresh(url: str | None, folder: Path, token: str = "refresh-0", **changes: Any) -> Outcome:
    endpoint = TokenEndpoint(account(folder / "t.json", url, **changes))
    return anyio.run(endpoint.refresh, token)


def test_refresh_is_one_post_with_basic_authentication(provider: Provider, tmp_path: Path) -> None:
    outcome = refresh(provider.token_url, tmp_path)
    assert outcome.token is not None
    assert outcome.token.access_token == "access-1"
    assert outcome.token.refresh_token == "refresh-1"
    assert provider.forms == [{"grant_type": "refresh_token", "refresh_token": "refresh-0"}]
    header = provider.headers[0]["Authorization"].removeprefix("Basic ")
    assert base64.b64decode(header) == b"the-client:the-secret"
    assert provider.headers[0]["Content-Type"] == "application/x-www-form-urlencoded"


def test_basic_authentication_is_form_encoded_first(provider: Provider, tmp_path: Path) -> None:
    refresh(provider.token_url, tmp_path, client_id="a:b", client_secret=Secret("c d%é"))
    header = provider.headers[0]["Authorization"].removeprefix("Basic ")
    assert base64.b64decode(header) == b"a%3Ab:c+d%25%C3%A9"


def test_post_and_public_clients_authenticate_in_the_body(
    provider: Provider, tmp_path: Path
) -> None:
    refresh(provider.token_url, tmp_path, client_auth="post", client_secret=Secret("c d&é+"))
    refresh(provider.token_url, tmp_path, "refresh-1", client_auth="none", client_secret=None)
    first, second = provider.forms
    assert (first["client_id"], first["client_secret"]) == ("the-client", "c d&é+")
    assert second["client_id"] == "the-client"
    assert "client_secret" not in second
    assert all("Authorization" not in headers for headers in provider.headers)


def test_any_token_byte_survives_the_form(provider: Provider, tmp_path: Path) -> None:
    token = "".join(map(chr, range(0x21, 0x7F)))
    for auth in ("basic", "post"):
        refresh(provider.token_url, tmp_path, token, client_auth=auth)
    assert [form["refresh_token"] for form in provider.forms] == [token, token]


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (response(200, b"<html>hello</html>"), Kind.AMBIGUOUS, "no JSON object"),
        (response(403, b"<html>Access Denied</html>"), Kind.UNDONE, "without an OAuth error"),
        (response(400, {"error": "invalid_grant"}), Kind.REFUSED, "invalid_grant"),
        (CLOSE, Kind.AMBIGUOUS, "answer lost"),
        (b"\x16\x03\x01 not http\r\n\r\n", Kind.AMBIGUOUS, "answer lost"),
        (response(302, b"", "Location: http://127.0.0.1:1/"), Kind.AMBIGUOUS, "not followed"),
        (response(200, b" " * 65_537), Kind.AMBIGUOUS, "over 64 KiB"),
        (response(200, {"a": 1}, length=500), Kind.AMBIGUOUS, "answer lost"),
        (response(200, b"{}", f"X: {'x' * 200_000}"), Kind.AMBIGUOUS, "answer lost"),
        (response(503, b"", "Retry-After: 7"), Kind.AMBIGUOUS, "503"),
        (response(200, b"x" * 100, "Content-Encoding: br"), Kind.AMBIGUOUS, "decodable"),
        (response(200, b"x" * 100, "Content-Encoding: gzip"), Kind.AMBIGUOUS, "decodable"),
        (response(200, gzip.compress(b" " * (50 << 20)), "Content-Encoding: gzip"),
         Kind.AMBIGUOUS, "over 64 KiB"),
    ],
)  # fmt: skip
def test_misbehaving_provider(
    provider: Provider, tmp_path: Path, answer: bytes, kind: Kind, says: str
) -> None:
    provider.script.append(answer)
    outcome = refresh(provider.token_url, tmp_path)
    assert outcome.kind is kind
    assert says in outcome.detail
    assert not outcome.unsent
    assert provider.requests == 1


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_answer_compressed_unasked_is_understood(
    provider: Provider, tmp_path: Path, encoding: str
) -> None:
    compress = gzip.compress if encoding == "gzip" else zlib.compress
    body = compress(json.dumps(granted(1)).encode())
    provider.script.append(response(200, body, f"Content-Encoding: {encoding}"))
    assert refresh(provider.token_url, tmp_path).kind is Kind.GRANTED


def test_answer_cut_anywhere_is_ambiguous_and_yields_the_refresh_token_once_it_is_whole(
    provider: Provider, tmp_path: Path
) -> None:
    whole = response(200, granted(1))
    end = whole.index(b'"refresh-1"') + len(b'"refresh-1"')
    for cut in range(1, len(whole), 7):
        provider.script.append(whole[:cut])
        outcome = refresh(provider.token_url, tmp_path)
        assert outcome.kind is Kind.AMBIGUOUS
        assert outcome.rescued == ("refresh-1" if cut >= end else None)


def test_slow_provider_is_given_up_after_the_timeout(provider: Provider, tmp_path: Path) -> None:
    provider.hold = threading.Event()
    outcome = refresh(provider.token_url, tmp_path, timeout=0.2)
    assert outcome.kind is Kind.AMBIGUOUS
    address = provider.token_url.split("/")[2]
    assert outcome.detail == f"answer lost: {address}: no answer within 0.2 s"


def test_request_that_cannot_leave_is_safe_to_repeat(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        outcome = refresh(f"http://127.0.0.1:{port}/", tmp_path)
    assert (outcome.kind, outcome.unsent) == (Kind.UNDONE, True)


def test_tls_failure_is_safe_to_repeat(provider: Provider, tmp_path: Path) -> None:
    outcome = refresh(provider.token_url.replace("http:", "https:"), tmp_path, timeout=0.2)
    assert (outcome.kind, outcome.unsent) == (Kind.UNDONE, True)


def test_tls_is_verified_and_the_environment_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    context = http_client._tls()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_proxy_of_the_environment_is_not_used(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert refresh(provider.token_url, tmp_path).kind is Kind.GRANTED


def test_error_that_echoes_secrets_is_shown_without_them(
    provider: Provider, tmp_path: Path
) -> None:
    text = "refresh-0 of the-secret"
    provider.script.append(response(400, {"error": "invalid_request", "error_description": text}))
    outcome = refresh(provider.token_url, tmp_path)
    assert "[redacted] of [redacted]" in outcome.detail


def test_token_endpoint_is_discovered_once_through_the_issuer(
    provider: Provider, tmp_path: Path
) -> None:
    metadata = {"issuer": f"{provider.origin}/o", "token_endpoint": provider.token_url,
                "revocation_endpoint": f"{provider.origin}/revoke"}  # fmt: skip
    provider.script.extend([response(404, b""), response(200, metadata)])
    endpoint = TokenEndpoint(account(tmp_path / "t", None, issuer=f"{provider.origin}/o"))
    assert anyio.run(endpoint.refresh, "refresh-0").kind is Kind.GRANTED
    assert anyio.run(endpoint.refresh, "refresh-1").kind is Kind.GRANTED
    assert provider.paths == [
        "/.well-known/oauth-authorization-server/o", "/o/.well-known/openid-configuration",
        "/token", "/token",
    ]  # fmt: skip
    assert endpoint.endpoints.revoke_url == f"{provider.origin}/revoke"


def test_metadata_is_looked_for_at_the_second_place_whatever_the_first_answers(
    provider: Provider, tmp_path: Path
) -> None:
    metadata = {"issuer": provider.origin, "token_endpoint": provider.token_url}
    provider.script.extend([response(200, b"<html>"), response(200, metadata)])
    assert refresh(None, tmp_path, issuer=provider.origin).kind is Kind.GRANTED


@pytest.mark.parametrize(
    ("answers", "kind", "says"),
    [
        ([response(503, b""), response(503, b"")], Kind.UNDONE, "answers [503, 503]"),
        ([response(404, b""), response(404, b"")], Kind.MISCONFIGURED, "set token_url"),
        (
            [response(200, b"<html>"), response(404, b"")],
            Kind.MISCONFIGURED,
            "object; set token_url",
        ),
        ([response(200, b"<html>"), response(503, b"")], Kind.UNDONE, "answers [200, 503]"),
        ([response(404, b""), response(200, EVIL)], Kind.MISCONFIGURED, "issuer, or set token_url"),
        ([response(200, b"<html>"), response(200, EVIL)], Kind.MISCONFIGURED, "no JSON object"),
    ],
)
def test_failed_discovery_spends_nothing(
    provider: Provider, tmp_path: Path, answers: list[bytes], kind: Kind, says: str
) -> None:
    provider.script.extend(answers)
    outcome = refresh(None, tmp_path, issuer=provider.origin)
    assert (outcome.kind, outcome.unsent) == (kind, True)
    assert says in outcome.detail
    assert provider.forms == [{}] * len(answers)


def test_discovered_endpoint_must_be_safe_too(provider: Provider, tmp_path: Path) -> None:
    metadata = {"issuer": provider.origin, "token_endpoint": "http://example.com/token"}
    provider.script.extend([response(200, metadata)] * 2)
    outcome = refresh(None, tmp_path, issuer=provider.origin)
    assert outcome.kind is Kind.MISCONFIGURED
    assert "token_endpoint must be https" in outcome.detail
    assert outcome.detail.endswith("; set token_url")


WITH_HTTPX = """
import sys
sys.modules["httpx2"] = None
import anyio
from tokenrelay.sender import http_client

async def post(url):
    body = b"refresh_token=refresh-0"
    return await http_client.exchange("POST", url, headers={}, content=body, deadline=5)

assert http_client.default_client().__class__.__module__ == "httpx"
assert anyio.run(post, sys.argv[1]).status == 200
try:
    anyio.run(post, sys.argv[1])
except http_client.NoAnswerError as error:
    assert error.sent
try:
    anyio.run(post, "http://127.0.0.1:1/")
except http_client.NoAnswerError as error:
    assert not error.sent
    print("told apart")
"""


def test_httpx_serves_where_httpx2_is_missing(provider: Provider) -> None:
    provider.script.extend([response(200, granted(1)), CLOSE])
    arguments = [sys.executable, "-W", "error", "-c", WITH_HTTPX, provider.token_url]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout == "told apart\n", done.stderr
