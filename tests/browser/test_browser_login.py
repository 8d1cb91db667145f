"""From `tokenrelay login` through a real browser and a real provider to the first token."""

from __future__ import annotations

import hashlib
import json
import ssl
from typing import TYPE_CHECKING

import pytest
from browser_support import log_in_and_consent, press
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from support.programs import TOKENRELAY, Line

if TYPE_CHECKING:
    from collections.abc import Callable

    from browser_support import OidcProvider
    from selenium.webdriver import Chrome

    from support.host import Host
    from support.programs import Program, Start

TIMEOUT = pytest.mark.timeout(180)


def printed_url(program: Program) -> str:
    """The address that the user is told to open, once the callback listens."""
    program.wait_for(lambda line: line.text.startswith("Waiting"))
    return next(line.text.strip() for line in program.lines if "http" in line.text)


def shows(browser: Chrome, text: str) -> None:
    WebDriverWait(browser, 30).until(
        lambda _: text in browser.find_element(By.TAG_NAME, "body").text
    )


def logged_in(line: Line) -> bool:
    return line.stream == "out" and "logged in" in line.text


@TIMEOUT
@pytest.mark.parametrize(
    ("client", "callback"),
    [("desktop", "http://127.0.0.1:{port}/callback"), ("trader", "https://127.0.0.1:{port}")],
    ids=["http", "https"],
)
def test_a_login_in_the_browser_ends_with_a_token_at_a_receiver(
    client: str, callback: str, port: int, provider: OidcProvider, host: Host, start: Start,
    browser: Chrome, receiver: Program, screenshot: Callable[[Chrome], None],
) -> None:  # fmt: skip
    """A sender runs with no login at all; what it needs comes while it runs."""
    provider.configure(host, client, redirect_uri=callback.format(port=port))
    sender = start(*TOKENRELAY, "run")
    sender.wait_for_event("ready")
    login = start(*TOKENRELAY, "login", "--no-browser")
    browser.get(printed_url(login))
    log_in_and_consent(browser)
    shows(browser, "Logged in")
    screenshot(browser)
    assert browser.current_url.startswith(callback.format(port=port))
    assert login.wait() == 0, login.output
    token = receiver.wait_for_event("token").fields
    stored = host.stored_token()
    assert token["serial"] == stored["serial"]
    assert token["status"] == 200
    assert "The running sender serves it" in login.output
    assert stored["granted_at"] == stored["issued_at"]
    assert provider.report() == {"authorization_code granted": 1}
    for secret in (stored["access_token"], stored["refresh_token"], provider.client_secret):
        assert secret not in login.output + sender.output


@TIMEOUT
def test_the_printed_fingerprint_is_that_of_the_callbacks_certificate(
    port: int, provider: OidcProvider, host: Host, start: Start
) -> None:
    provider.configure(host, "trader", redirect_uri=f"https://127.0.0.1:{port}")
    login = start(*TOKENRELAY, "login", "--no-browser")
    printed_url(login)
    served = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", port)))
    expected = hashlib.sha256(served).hexdigest().upper()
    assert any(line.text.strip().replace(":", "") == expected for line in login.lines)


@TIMEOUT
def test_the_browsers_warning_is_announced_and_can_be_passed(
    port: int, provider: OidcProvider, host: Host, start: Start, wary_browser: Chrome,
    screenshot: Callable[[Chrome], None],
) -> None:  # fmt: skip
    provider.configure(host, "trader", redirect_uri=f"https://127.0.0.1:{port}")
    login = start(*TOKENRELAY, "login", "--no-browser")
    wary_browser.get(printed_url(login))
    log_in_and_consent(wary_browser)
    login.wait_for(lambda line: "does not trust the callback's certificate yet" in line.text)
    screenshot(wary_browser)
    wary_browser.find_element(By.ID, "details-button").click()
    wary_browser.find_element(By.ID, "proceed-link").click()
    shows(wary_browser, "Logged in")
    assert login.wait() == 0, login.output


@TIMEOUT
def test_a_second_login_reaches_a_receiver_under_the_running_sender(
    port: int, provider: OidcProvider, host: Host, start: Start, browser: Chrome, receiver: Program
) -> None:
    """The sender has a login that works and is about to sleep for minutes; nothing is restarted,
    and nobody refreshes: the sender takes up what the file holds."""
    provider.configure(host, "desktop", redirect_uri=f"http://127.0.0.1:{port}/callback")
    sender = start(*TOKENRELAY, "run")
    sender.wait_for_event("ready")
    last = None
    for count in (1, 2):
        login = start(*TOKENRELAY, "login", "--no-browser")
        browser.get(printed_url(login))
        if count == 1:
            log_in_and_consent(browser)
        else:
            press(browser)
        assert login.wait() == 0, login.output
        last = receiver.wait_for_event("token", after=last)
        assert last.fields["serial"] == host.stored_token()["serial"]
        assert last.fields["status"] == 200
    assert provider.report() == {"authorization_code granted": 2}


@TIMEOUT
def test_refusing_consent_ends_the_login_and_tells_why(
    port: int, provider: OidcProvider, host: Host, start: Start, browser: Chrome,
    screenshot: Callable[[Chrome], None],
) -> None:  # fmt: skip
    provider.configure(host, "desktop", redirect_uri=f"http://127.0.0.1:{port}/callback")
    login = start(*TOKENRELAY, "login", "--no-browser")
    browser.get(printed_url(login))
    press(browser, "a[href$=abort]")
    shows(browser, "Not logged in")
    screenshot(browser)
    assert login.wait() == 1
    assert "access_denied" in login.output
    assert not host.token_file().exists()


@TIMEOUT
def test_provider_that_demands_pkce_refuses_a_login_without_it(
    port: int, provider: OidcProvider, host: Host, start: Start, browser: Chrome
) -> None:
    """So every other login here is one with PKCE; the setting is what switches it off."""
    callback = f"http://127.0.0.1:{port}/callback"
    provider.configure(host, "desktop", redirect_uri=callback, pkce=False)
    login = start(*TOKENRELAY, "login", "--no-browser")
    browser.get(printed_url(login))
    shows(browser, "Not logged in")
    assert login.wait() == 1
    assert "invalid_request" in login.output


@TIMEOUT
def test_a_login_on_another_device(
    provider: OidcProvider, host: Host, start: Start, browser: Chrome
) -> None:
    provider.configure(host, "desktop")
    login = start(*TOKENRELAY, "login", "--device")
    login.wait_for(lambda line: line.text.startswith("Waiting"))
    browser.get(next(line.text.strip() for line in login.lines if "user_code=" in line.text))
    press(browser)
    log_in_and_consent(browser)
    assert login.wait(60) == 0, login.output
    assert host.stored_token()["refresh_token"]


@TIMEOUT
def test_a_pasted_address_where_no_callback_can_listen(
    port: int, provider: OidcProvider, host: Host, start: Start, browser: Chrome
) -> None:
    """The browser shows an error, since nothing listens there; its address is what counts."""
    provider.configure(host, "trader", redirect_uri=f"https://127.0.0.1:{port}")
    login = start(*TOKENRELAY, "login", "--paste", "--no-browser")
    login.wait_for(lambda line: line.text.startswith("Copy the whole"))
    browser.get(next(line.text.strip() for line in login.lines if "/auth?" in line.text))
    log_in_and_consent(browser)
    WebDriverWait(browser, 30).until(lambda _: "code=" in browser.current_url)
    login.write(f' "{browser.current_url}"\n')
    assert login.wait() == 0, login.output


@TIMEOUT
def test_the_login_rotates_and_ends_with_logout(
    port: int, provider: OidcProvider, host: Host, start: Start, browser: Chrome
) -> None:
    """Refreshed twice, revoked (RFC 7009), and then worth nothing to who has a copy."""
    provider.configure(host, "trader", redirect_uri=f"https://127.0.0.1:{port}")
    login = start(*TOKENRELAY, "login", "--no-browser")
    browser.get(printed_url(login))
    log_in_and_consent(browser)
    assert login.wait() == 0, login.output
    first = host.stored_token()
    host.run("refresh")
    host.run("refresh")
    copy = host.stored_token()
    assert copy["granted_at"] == first["granted_at"]
    assert copy["refresh_token"] != first["refresh_token"]
    logout = start(*TOKENRELAY, "logout")
    assert logout.wait() == 0, logout.output
    assert "the provider revoked the login" in logout.output
    assert "refresh_token" not in host.stored_token()
    host.root.joinpath("copy.json").write_text(json.dumps(copy))
    host.run("import", str(host.root / "copy.json"), "--force")
    refused = start(*TOKENRELAY, "refresh")
    assert refused.wait() == 4, refused.output
    assert provider.report()["refresh_token granted"] == 2


@TIMEOUT
def test_a_spent_refresh_token_ends_the_login_and_the_cure_is_named(
    port: int, provider: OidcProvider, host: Host, start: Start, browser: Chrome
) -> None:
    """Reuse detection: the provider revokes all that came of the login (RFC 9700 §4.14.2)."""
    provider.configure(host, "trader", redirect_uri=f"https://127.0.0.1:{port}")
    login = start(*TOKENRELAY, "login", "--no-browser")
    browser.get(printed_url(login))
    log_in_and_consent(browser)
    assert login.wait() == 0, login.output
    spent = host.root / "spent.json"
    spent.write_text(json.dumps(host.stored_token()))
    host.run("refresh")
    good = host.stored_token()
    host.run("import", str(spent), "--force")
    reuse = start(*TOKENRELAY, "refresh")
    assert reuse.wait() == 4, reuse.output
    assert "tokenrelay login main" in reuse.output
    spent.write_text(json.dumps(good))
    host.run("import", str(spent), "--force")
    over = start(*TOKENRELAY, "refresh")
    assert over.wait() == 4, over.output
