"""The callback server as a browser meets it, in the command that users run."""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import http.client
import socket
import ssl
import threading
from typing import TYPE_CHECKING

import pytest
from login_support import LoginCommand, fetch
from sender_support import Provider, granted, response

from tokenrelay.sender.callback import _listen_cause
from tokenrelay.sender.callback_address import callback_address
from tokenrelay.sender.certificate import make_certificate

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.host import Host


@pytest.fixture
def grants(provider: Provider) -> Provider:
    provider.script.append(response(200, granted(1)))
    return provider


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_callback_brings_a_token_before_its_page_is_shown(
    log_in: Callable[..., LoginCommand], grants: Provider, host: Host, scheme: str
) -> None:
    login = log_in(scheme=scheme)
    status, page = login.call_back(code="the+code/@")
    stored = host.stored_token()
    assert (status, stored["access_token"]) == (200, "access-1")
    assert "Logged in" in page
    assert login.program.wait() == 0
    (form,) = grants.forms
    assert form["code"] == "the+code/@"
    assert form["redirect_uri"] == login.asked["redirect_uri"]
    challenge = hashlib.sha256(form["code_verifier"].encode()).digest()
    sent = login.asked["code_challenge"] + "="
    assert base64.urlsafe_b64decode(sent) == challenge
    for secret in ("access-1", "refresh-1", form["code_verifier"], "the-secret", "the+code"):
        assert secret not in login.program.output + page


def test_a_page_that_is_not_of_this_login_does_not_end_it(
    log_in: Callable[..., LoginCommand], grants: Provider
) -> None:
    login = log_in()
    redirect_uri = login.asked["redirect_uri"]
    assert fetch(f"{redirect_uri}?code=stolen&state=wrong")[0] == 400
    assert fetch(f"{redirect_uri}?error=denied")[0] == 400
    assert fetch(f"{redirect_uri}/favicon.ico")[0] == 404
    assert fetch(login.redirected(code="c"), method="POST")[0] == 405
    assert grants.forms == []
    assert login.call_back(code="c")[0] == 200
    assert "its state is not of this login" in login.program.output
    assert "stolen" not in login.program.output


def test_a_callback_at_another_path_is_explained(
    log_in: Callable[..., LoginCommand], grants: Provider
) -> None:
    """What is registered differs from the configuration in case, or by a slash."""
    login = log_in()
    moved = login.redirected(code="the-code").replace("/callback?", "/Callback/?")
    assert fetch(moved)[0] == 404
    login.wait_for_note("'/Callback/'")
    login.wait_for_note("to the letter")
    assert login.call_back(code="c")[0] == 200
    assert "the-code" not in login.program.output


def test_https_spoken_to_an_http_callback_is_explained(
    log_in: Callable[..., LoginCommand], grants: Provider
) -> None:
    login = log_in()
    with pytest.raises(OSError):  # noqa: PT011
        fetch(login.redirected(code="c").replace("http://", "https://"))
    login.wait_for_note("the browser spoke https")
    assert login.call_back(code="c")[0] == 200


def test_http_spoken_to_an_https_callback_is_explained(
    log_in: Callable[..., LoginCommand], grants: Provider
) -> None:
    login = log_in(scheme="https")
    with pytest.raises((OSError, http.client.HTTPException)):
        fetch(login.redirected(code="c").replace("https://", "http://"))
    login.wait_for_note("the browser spoke http,")
    assert login.call_back(code="c")[0] == 200


def test_a_browser_that_does_not_trust_the_certificate_yet_is_explained(
    log_in: Callable[..., LoginCommand], grants: Provider
) -> None:
    login = log_in(scheme="https")
    _ = login.url
    strict = ssl.create_default_context()
    with (
        socket.create_connection(("127.0.0.1", login.port)) as plain,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        strict.wrap_socket(plain, server_hostname="127.0.0.1")
    login.wait_for_note("Advanced, then Proceed")
    assert login.call_back(code="c")[0] == 200


def test_connections_that_say_nothing_hold_nobody_up(
    log_in: Callable[..., LoginCommand], grants: Provider
) -> None:
    """Browsers open spare ones."""
    login = log_in(scheme="https")
    _ = login.url
    spare = [socket.create_connection(("127.0.0.1", login.port)) for _ in range(20)]
    spare[0].sendall(b"\x16\x03")
    assert login.call_back(code="c")[0] == 200
    assert login.program.wait() == 0
    for one in spare:
        one.close()


def test_a_page_loaded_twice_spends_the_code_once(
    log_in: Callable[..., LoginCommand], grants: Provider
) -> None:
    login = log_in()
    target = login.redirected(code="c").partition(str(login.port))[2]
    grants.hold = threading.Event()
    browsers = [socket.create_connection(("127.0.0.1", login.port)) for _ in range(2)]
    for one in browsers:
        one.settimeout(20)
        one.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    grants.asked.acquire()
    grants.hold.set()
    assert login.program.wait() == 0
    # The other one may be cut off, or see the same page.
    assert any(_first_bytes(one) == b"HTTP/1.1 200 OK" for one in browsers)
    assert len(grants.forms) == 1
    for one in browsers:
        one.close()


def _first_bytes(browser: socket.socket) -> bytes:
    with contextlib.suppress(ConnectionResetError):
        return browser.recv(15)
    return b""


@pytest.mark.parametrize(
    "request_text",
    [
        b"nonsense\r\n\r\n",
        b"GET /callback SPDY/3\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /callback?%ff=%00&code HTTP/1.1\r\n\r\n",
        b"GET /callback?" + b"a" * 70_000,
        b"\x00\xff\r\n\r\n",
    ],
)
def test_no_request_brings_the_server_down(
    log_in: Callable[..., LoginCommand], grants: Provider, request_text: bytes
) -> None:
    login = log_in()
    _ = login.url
    with socket.create_connection(("127.0.0.1", login.port)) as wild:
        wild.settimeout(20)
        wild.sendall(request_text)
        with contextlib.suppress(ConnectionResetError):
            assert not wild.recv(100).startswith(b"HTTP/1.1 2")
    assert login.call_back(code="c")[0] == 200


def test_the_page_runs_nothing_and_is_kept_nowhere(
    log_in: Callable[..., LoginCommand], provider: Provider
) -> None:
    """Also where the provider's words are meant to become markup."""
    login = log_in()
    status, page = login.call_back(error="<script>alert(1)</script>", error_description="<b>")
    assert status == 403
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert login.program.wait() == 1
    assert provider.forms == []


def test_the_pages_headers_keep_the_code_to_this_machine(
    log_in: Callable[..., LoginCommand], grants: Provider
) -> None:
    login = log_in()
    url = login.redirected(code="c")
    connection = http.client.HTTPConnection("127.0.0.1", login.port, timeout=20)
    connection.request("GET", url.partition(str(login.port))[2])
    answer = connection.getresponse()
    assert answer.getheader("Cache-Control") == "no-store"
    assert answer.getheader("Referrer-Policy") == "no-referrer"
    assert "default-src 'none'" in str(answer.getheader("Content-Security-Policy"))
    assert answer.read().endswith(b"</html>")
    connection.close()


def test_a_port_that_is_taken_is_named_with_the_cure(
    log_in: Callable[..., LoginCommand], port: int
) -> None:
    with socket.create_server(("127.0.0.1", port)):
        login = log_in()
        assert login.program.wait() == 1
    assert f"port {port} of 127.0.0.1 is taken" in login.program.output
    assert "ss -ltnp" in login.program.output
    assert "--paste" in login.program.output
    assert "/auth?" not in login.program.output


def test_a_port_that_only_root_may_use_is_named_with_the_cure() -> None:
    address = callback_address("https://127.0.0.1")
    cause = _listen_cause(address, PermissionError(errno.EACCES, "Permission denied"))
    assert "port 443 is below 1024" in cause
    assert "https://127.0.0.1:8182" in cause


def test_no_callback_within_the_limit_ends_the_login(log_in: Callable[..., LoginCommand]) -> None:
    login = log_in("--no-browser", "--timeout", "500ms")
    assert login.program.wait() == 1
    assert "to the letter" in login.program.output
    assert "tokenrelay login main --paste" in login.program.output


def test_a_certificate_is_for_its_host_and_its_login_alone() -> None:
    first, second = make_certificate("127.0.0.1"), make_certificate("localhost")
    assert first.fingerprint != second.fingerprint
    assert len(bytes.fromhex(first.fingerprint.replace(":", ""))) == 32
