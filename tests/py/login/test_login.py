"""What a login leaves in the token file, what it refuses to destroy, and who is fed."""

from __future__ import annotations

import os
import pty
import signal
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from login_support import LoginCommand, configure, store_login
from sender_support import Provider, granted, response

from support.ports import free_port
from support.programs import RECEIVE, TOKENRELAY, wait_for_tokens
from tokenrelay.sender.vault_files import locked

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.command import Run
    from support.host import Host
    from support.programs import Start

SCHWAB = {"provider": "schwab"}


def finish(login: LoginCommand, code: int = 0) -> str:
    login.call_back(code="the-code")
    assert login.program.wait() == code, login.program.output
    return login.program.output


def test_the_login_is_stored_with_its_own_end(
    log_in: Callable[..., LoginCommand], provider: Provider, host: Host
) -> None:
    provider.script.append(response(200, granted(1, expires_in=900, scope="read")))
    before = int(time.time())
    output = finish(log_in(login_lifetime="7d"))
    stored = host.stored_token()
    assert before <= stored["granted_at"] <= time.time()
    assert stored["expires_at"] == stored["issued_at"] + 900
    assert stored["grant_expires_at"] == stored["granted_at"] + 7 * 86400
    assert (stored["scope"], stored["client_id"]) == ("read", "the-client")
    assert stored["token_url"] == provider.token_url
    assert stat.S_IMODE(host.token_file().stat().st_mode) == 0o600
    assert "the login until" in output
    assert "tokenrelay run" in output


def test_a_running_sender_feeds_the_new_login_to_its_receivers(
    log_in: Callable[..., LoginCommand], provider: Provider, host: Host, start: Start
) -> None:
    """First with no login at all, then over one that works; nothing is restarted or refreshed."""
    configure(host, provider)
    receiver = start(*RECEIVE)
    receiver.wait_for_event("ready")
    sender = start(*TOKENRELAY, "run")
    sender.wait_for_event("ready")
    for count in (1, 2):
        provider.script.append(response(200, granted(count)))
        output = finish(log_in())
        assert wait_for_tokens(receiver, count)[-1]["serial"] == host.stored_token()["serial"]
        assert "The running sender serves it: 1 receiver connected" in output
    assert [form["grant_type"] for form in provider.forms] == ["authorization_code"] * 2


@pytest.mark.parametrize(
    ("answer", "code", "says"),
    [
        (response(400, {"error": "invalid_grant"}), 1, "works once"),
        (response(401, {"error": "invalid_client"}), 3, "client_secret"),
        (response(302, b"", "Location: http://127.0.0.1:1/"), 1, "redirects are not followed"),
        (response(200, b"<html>"), 1, "no JSON object"),
    ],
)
def test_a_code_that_brings_no_token_leaves_the_old_login(
    log_in: Callable[..., LoginCommand], provider: Provider, host: Host, run: Run,
    answer: bytes, code: int, says: str,
) -> None:  # fmt: skip
    provider.script.append(answer)
    store_login(host)
    before = host.token_file().read_bytes()
    output = finish(log_in(), code)
    assert says in output
    assert "tokenrelay login main" in output
    assert host.token_file().read_bytes() == before


def test_a_provider_that_did_nothing_is_asked_again_while_the_code_lives(
    log_in: Callable[..., LoginCommand], provider: Provider
) -> None:
    busy = response(403, b"<html>Access Denied</html>")
    provider.script.extend([busy, response(200, granted(1))])
    finish(log_in())
    assert [form["code"] for form in provider.forms] == ["the-code"] * 2


def test_a_grant_without_refresh_token_does_not_replace_a_login_with_one(
    log_in: Callable[..., LoginCommand], provider: Provider, host: Host
) -> None:
    provider.script.extend([response(200, granted(2, refresh_token=None))] * 2)
    store_login(host)
    assert "offline_access" in finish(log_in(), 1)
    assert host.stored_token()["refresh_token"] == "refresh-0"
    host.token_file().unlink()
    assert "ends with this access token" in finish(log_in())


def test_a_damaged_token_file_is_set_aside(
    log_in: Callable[..., LoginCommand], provider: Provider, host: Host
) -> None:
    provider.script.append(response(200, granted(2)))
    store_login(host)
    host.token_file().write_text('{"access_tok')
    finish(log_in())
    assert host.stored_token()["access_token"] == "access-2"
    assert host.state.joinpath("main.json.bad").read_text() == '{"access_tok'


def test_a_login_waits_for_a_lock_that_another_process_holds(
    log_in: Callable[..., LoginCommand], provider: Provider, host: Host
) -> None:
    provider.script.append(response(200, granted(2)))
    store_login(host)
    login = log_in()
    assert login.url, "it holds the lock itself until then, to see that it can be saved"
    with ThreadPoolExecutor() as browser:
        with locked(host.token_file().with_name("main.json.lock"), timeout=0):
            page = browser.submit(login.call_back, code="the-code")
            login.wait_for_note("logged in, but not saved yet")
            assert host.stored_token()["access_token"] == "access-0"
        assert page.result()[0] == 200
    assert login.program.wait() == 0
    assert host.stored_token()["access_token"] == "access-2"


def test_a_file_that_cannot_be_saved_is_told_before_the_browser_opens(
    log_in: Callable[..., LoginCommand], host: Host
) -> None:
    folder = host.root / "open"
    folder.mkdir()
    folder.chmod(0o777)
    login = log_in(token_file=str(folder / "t.json"))
    assert login.program.wait() == 1
    assert f"chmod go-w {folder}" in login.program.output
    assert "/auth?" not in login.program.output


def test_schwab_ends_a_working_login_only_when_told_so(
    log_in: Callable[..., LoginCommand], provider: Provider, host: Host
) -> None:
    provider.script.extend([response(200, granted(1)), response(200, granted(2))])
    finish(log_in(**SCHWAB))
    assert "code_verifier" not in provider.forms[0]
    refused = log_in("--no-browser", **SCHWAB)
    assert refused.program.wait() == 1
    assert "main has a login that works until" in refused.program.output
    assert "tokenrelay login main --yes" in refused.program.output
    assert "/auth?" not in refused.program.output
    assert "ends it when you log in again" in finish(log_in("--no-browser", "--yes", **SCHWAB))
    assert host.stored_token()["access_token"] == "access-2"


def test_in_a_terminal_schwab_asks_first(provider: Provider, host: Host) -> None:
    store_login(host)
    port = free_port()
    configure(host, provider, redirect_uri=f"http://127.0.0.1:{port}/", **SCHWAB)
    assert "the old login is as it was" in _answer_in_a_terminal(host, b"n\n")
    assert host.stored_token()["access_token"] == "access-0"
    assert "Waiting for the callback" in _answer_in_a_terminal(host, b"y\n")


def _answer_in_a_terminal(host: Host, answer: bytes) -> str:
    """What the command prints on a terminal where ``answer`` is typed."""
    pid, terminal = pty.fork()
    if pid == 0:
        command = [*TOKENRELAY, "login", "--no-browser", "--timeout", "300ms"]
        os.execvpe(command[0], command, host.environment)
    output = b""
    try:
        while b"Log in again now?" not in output:
            output += os.read(terminal, 4096)
        os.write(terminal, answer)
        while chunk := os.read(terminal, 4096):
            output += chunk
    except OSError:  # EIO: the command has ended
        pass
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)
    return output.decode()


@pytest.mark.parametrize(
    ("settings", "otherwise"),
    [
        ({}, "main --paste"),
        ({"device_url": "https://provider.example/d"}, "main --paste, or --device"),
    ],
)
def test_without_a_browser_and_a_terminal_it_says_at_once_how_to_log_in_otherwise(
    log_in: Callable[..., LoginCommand], settings: dict[str, str], otherwise: str
) -> None:
    login = log_in("--timeout", "2m", **settings)
    told = f"http://127.0.0.1:{login.port}/callback, at most 2m …"
    login.wait_for_note(f"Waiting for the callback at {told}")
    lines = [(line.stream, line.text) for line in login.program.lines]
    assert ("err", f"  tokenrelay login {otherwise}") in lines
    assert {stream for stream, _ in lines} == {"err"}


def test_a_schwab_login_that_is_over_is_replaced_without_a_question(
    log_in: Callable[..., LoginCommand], provider: Provider, host: Host
) -> None:
    provider.script.append(response(200, granted(1)))
    store_login(host, granted_at=int(time.time()) - 8 * 86400)
    assert "a login that works" not in finish(log_in(**SCHWAB))


def test_the_redirected_address_may_be_pasted(
    log_in: Callable[..., LoginCommand], provider: Provider, host: Host
) -> None:
    provider.script.append(response(200, granted(1)))
    login = log_in("--paste", "--no-browser", scheme="https")
    url = login.redirected(code="the@code")
    login.program.write("the wrong thing\n")
    login.wait_for_note("That is not it")
    login.program.write(f' "{url[:50]}\n  {url[50:]}"\n')
    assert login.program.wait() == 0, login.program.output
    assert provider.forms[0]["code"] == "the@code"
    assert host.stored_token()["access_token"] == "access-1"


def test_paste_works_where_the_callback_is_on_another_machine(
    log_in: Callable[..., LoginCommand], provider: Provider, host: Host, start: Start
) -> None:
    elsewhere = "https://trader.example/callback"
    configure(host, provider, redirect_uri=elsewhere)
    refused = start(*TOKENRELAY, "login", "--no-browser")
    assert refused.wait() == 3
    assert "tokenrelay login main --paste" in refused.output


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"redirect_uri": None}, "accounts.main.redirect_uri: missing"),
        ({"authorize_url": None}, "accounts.main.authorize_url: missing"),
    ],
)
def test_what_the_configuration_lacks_is_named(
    provider: Provider, host: Host, run: Run, settings: dict[str, None], says: str
) -> None:
    configure(host, provider, **{"redirect_uri": "http://127.0.0.1:1/", **settings})
    refused = run("login", "--no-browser", succeed=False)
    assert refused.returncode == 3
    assert says in refused.stderr


def test_the_browser_is_opened_at_the_printed_address(
    host: Host, start: Start, provider: Provider, port: int
) -> None:
    pipe, script = host.root / "pipe", host.root / "browser"
    os.mkfifo(pipe)
    script.write_text(f'#!/bin/sh\nprintf %s "$1" > {pipe}\n')
    script.chmod(0o700)
    configure(host, provider, redirect_uri=f"http://127.0.0.1:{port}/")
    environment = {**host.environment, "BROWSER": f"{script} %s"}
    login = LoginCommand(start(*TOKENRELAY, "login", environment=environment), port)
    assert pipe.read_text() == login.url


def test_an_interrupt_ends_it_quietly_and_changes_nothing(
    log_in: Callable[..., LoginCommand], host: Host
) -> None:
    store_login(host)
    before = host.token_file().read_bytes()
    login = log_in()
    _ = login.url
    os.kill(login.program.pid, signal.SIGINT)
    assert login.program.wait() == 130
    assert "Traceback" not in login.program.output
    assert host.token_file().read_bytes() == before
