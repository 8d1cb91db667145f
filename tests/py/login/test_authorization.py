from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from login_support import REQUEST
from sender_support import account

from tokenrelay.sender.authorization import (
    AuthorizationRequest,
    LoginRefused,
    NotOurCallback,
    authorization_request,
    read_callback,
)
from tokenrelay.sender.callback_address import callback_address

if TYPE_CHECKING:
    from pathlib import Path

AUTHORIZE = "https://provider.example/auth"
REDIRECT = "https://127.0.0.1:8182"


def ask(folder: Path, url: str = AUTHORIZE, **changes: Any) -> AuthorizationRequest:
    return authorization_request(account(folder / "t", "https://t/", **changes), url, REDIRECT)


def fields(request: AuthorizationRequest) -> dict[str, list[str]]:
    return parse_qs(urlsplit(request.url).query)


def test_the_request_carries_the_challenge_of_its_verifier(tmp_path: Path) -> None:
    request = ask(tmp_path, scopes=("read", "trade"))
    digest = hashlib.sha256((request.verifier or "").encode()).digest()
    assert fields(request) == {
        "response_type": ["code"],
        "client_id": ["the-client"],
        "redirect_uri": [REDIRECT],
        "scope": ["read trade"],
        "state": [request.state],
        "code_challenge": [base64.urlsafe_b64encode(digest).rstrip(b"=").decode()],
        "code_challenge_method": ["S256"],
    }
    assert 43 <= len(request.verifier or "") <= 128
    assert request.token_form("c")["code_verifier"] == request.verifier


def test_the_challenge_of_rfc_7636_appendix_b(tmp_path: Path) -> None:
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    configured = account(tmp_path / "t", "https://t/")
    request = authorization_request(configured, AUTHORIZE, REDIRECT, random_text=lambda _: verifier)
    assert fields(request)["code_challenge"] == ["E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"]


def test_a_provider_that_rejects_pkce_sees_none_of_it(tmp_path: Path) -> None:
    request = ask(tmp_path, pkce=False)
    assert "code_challenge" not in request.url
    assert request.token_form("c") == {
        "grant_type": "authorization_code",
        "code": "c",
        "redirect_uri": REDIRECT,
    }


def test_each_request_has_its_own_state_and_verifier(tmp_path: Path) -> None:
    first, second = ask(tmp_path), ask(tmp_path)
    assert len({first.state, second.state, first.verifier, second.verifier}) == 4


def test_offline_access_asks_for_consent_unless_the_configuration_has_a_prompt(
    tmp_path: Path,
) -> None:
    scopes = ("openid", "offline_access")
    assert fields(ask(tmp_path, scopes=scopes))["prompt"] == ["consent"]
    own = fields(ask(tmp_path, AUTHORIZE + "?prompt=login&audience=api", scopes=scopes))
    assert (own["prompt"], own["audience"]) == (["login"], ["api"])
    assert "prompt" not in fields(ask(tmp_path, scopes=("openid",)))


def test_a_request_never_shows_its_secrets(tmp_path: Path) -> None:
    request = ask(tmp_path)
    assert str(request.verifier) not in repr(request)


def test_the_code_is_decoded_once() -> None:
    """Schwab's codes end with an @, sent as %40, and bring a field `session`."""
    query = "code=C0.abc%2Bd%25%40&session=1&state=the-state&iss=https%3A%2F%2Fprovider.example"
    assert read_callback(query, REQUEST) == "C0.abc+d%@"


@pytest.mark.parametrize(
    ("query", "cause"),
    [
        ("", "no state"),
        ("code=c", "no state"),
        ("code=c&state=", "not of this login"),
        ("code=c&state=The-state", "not of this login"),
        ("code=c&state=the-state%C3%A9", "not of this login"),
        ("state=the-state", "no code"),
        ("code=&state=the-state", "no code"),
        ("code=a&code=b&state=the-state", "code twice"),
        ("code=a&code=a&state=the-state", "code twice"),
        ("code=a&state=the-state&state=x", "state twice"),
        ("code=c&state=the-state&iss=https%3A%2F%2Fevil.example", "another issuer"),
        ("error=access_denied", "access_denied"),
        ("&".join(f"f{n}=" for n in range(99)), "more than"),
    ],
)
def test_a_callback_that_proves_nothing_is_ignored(query: str, cause: str) -> None:
    with pytest.raises(NotOurCallback, match=cause):
        read_callback(query, REQUEST)


def test_the_providers_refusal_is_told_on_one_short_printable_line() -> None:
    wild = "no\r\n\x1b[31mway " + "x" * 999
    query = urlencode({"error": "access_denied", "error_description": wild, "state": "the-state"})
    with pytest.raises(LoginRefused) as refused:
        read_callback(query, REQUEST)
    text = str(refused.value)
    assert "access_denied: no" in text
    assert text.isprintable()
    assert len(text) < 300


FIELDS = st.tuples(
    st.sampled_from(["code", "state", "error", "iss"]), st.sampled_from(["", "the-state", "x"])
)


@given(st.text() | st.lists(FIELDS).map(urlencode))
def test_any_query_gives_a_code_or_a_printable_reason(query: str) -> None:
    reason = ""
    try:
        assert read_callback(query, REQUEST)
    except (NotOurCallback, LoginRefused) as error:
        reason = str(error)
    assert reason.isprintable()


@pytest.mark.parametrize(
    ("redirect_uri", "secure", "host", "port", "path"),
    [
        ("https://127.0.0.1:8182", True, "127.0.0.1", 8182, "/"),
        ("https://127.0.0.1:8182/", True, "127.0.0.1", 8182, "/"),
        ("HTTPS://127.0.0.1/Back", True, "127.0.0.1", 443, "/Back"),
        ("http://localhost:80/a/b?c=d", False, "localhost", 80, "/a/b"),
        ("http://[::1]:9000/x", False, "::1", 9000, "/x"),
    ],
)
def test_the_callback_is_answered_where_redirect_uri_says(
    redirect_uri: str, secure: bool, host: str, port: int, path: str
) -> None:
    address = callback_address(redirect_uri)
    assert (address.secure, address.host, address.port, address.path) == (secure, host, port, path)


@pytest.mark.parametrize("elsewhere", ["https://example.com/cb", "https://192.168.1.2:8182"])
def test_a_callback_on_another_machine_cannot_be_answered(elsewhere: str) -> None:
    with pytest.raises(ValueError, match="loopback"):
        callback_address(elsewhere)
