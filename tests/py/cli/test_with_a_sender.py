"""`run`, `refresh`, `show`, `status` and `send` where a sender runs, and where none does."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from support.command import run_command
from support.host import write_private
from support.programs import RECEIVE, TOKENRELAY, Program, Start, wait_for_tokens
from tokenrelay.cli.takeover import tell_sender
from tokenrelay.sender.config import load_config
from tokenrelay.sender.tokens import TokenSet

if TYPE_CHECKING:
    from pathlib import Path

    from support.command import Run
    from support.host import Host
    from support.provider import Provider, StartProvider


@pytest.fixture
def provider(host: Host, oauth_toolkit: StartProvider) -> Provider:
    """A provider whose login the host has; nothing is refreshed until a test asks for it."""
    provider = oauth_toolkit(access_token_seconds=600)
    host.configure(provider)
    host.import_login(provider)
    return provider


@pytest.fixture
def receiver(start: Start) -> Program:
    receiver = start(*RECEIVE)
    receiver.wait_for_event("ready")
    return receiver


@pytest.fixture
def sender(provider: Provider, start: Start, receiver: Program) -> Program:
    """A running sender that has fed the one receiver."""
    sender = start(*TOKENRELAY, "run")
    sender.wait_for_event("ready")
    wait_for_tokens(receiver, 1)
    return sender


def test_show_prints_the_senders_token(sender: Program, provider: Provider, run: Run) -> None:
    assert run("show").stdout == f"{provider.access_token}\n"
    shown = json.loads(run("show", "main", "--json").stdout)
    assert shown["source"] == "sender"
    assert shown["access_token"] == provider.access_token
    assert 0 < shown["expires_in"] <= 600


def test_show_names_the_login_once_where_it_is_over(
    provider: Provider, host: Host, start: Start, run: Run
) -> None:
    run("refresh")
    spent = host.plain_token_file(provider, expires_at=int(time.time()) - 60)
    run("import", str(spent), "--force")
    start(*TOKENRELAY, "run").wait_for_event("refresh failed")
    over = run("show", succeed=False)
    assert over.returncode == 4
    assert over.stderr.startswith("tokenrelay: there is no valid token: main: the provider takes")
    assert over.stderr.endswith(". Log in: tokenrelay login main\n")
    assert over.stderr.count("Log in: ") == 1


def test_the_sender_refreshes_when_asked_and_feeds_the_receiver(
    sender: Program, provider: Provider, receiver: Program, run: Run
) -> None:
    assert "main: refreshed" in run("refresh").stdout
    refreshed = json.loads(run("refresh", "main", "--json").stdout)
    receiver.wait_for_event("token", serial=refreshed["serial"])
    assert refreshed["account"] == "main"
    assert provider.report()["refreshes"] == 2


@pytest.fixture
def other_config(sender: Program, host: Host) -> Path:
    """A configuration whose account has the name of one that the sender serves, not its login."""
    path, table = host.root / "other.toml", "[accounts.main]"
    text = host.config.read_text()
    own = f"{table}\ntoken_file = {json.dumps(str(host.root / 'other.json'))}"
    write_private(path, text.replace(table, own))
    return path


@pytest.mark.parametrize("command", [["show"], ["show", "main"], ["refresh"]], ids=" ".join)
def test_an_account_of_the_same_name_is_not_taken_for_the_senders(
    other_config: Path, host: Host, provider: Provider, run: Run, command: list[str]
) -> None:
    refused = run("--config", str(other_config), *command, succeed=False)
    assert refused.returncode == 3
    assert refused.stdout == ""
    assert str(host.token_file()) in refused.stderr
    assert str(host.config) in refused.stderr
    assert provider.report()["refreshes"] == 0


def test_a_configuration_named_by_the_environment_is_meant_too(
    other_config: Path, host: Host
) -> None:
    environment = {**host.environment, "TOKENRELAY_CONFIG": str(other_config)}
    refused = run_command(environment, "show", "main", succeed=False)
    assert refused.returncode == 3
    assert refused.stdout == ""


def test_a_login_that_the_sender_does_not_serve_is_told_so(
    other_config: Path, host: Host, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in host.variables.items():
        monkeypatch.setenv(name, value)
    token = TokenSet(access_token="other", expires_at=provider.expires_at, serial=1)
    told = tell_sender(load_config(other_config).select("main"), token)
    assert told.startswith("It is not served: the sender that runs")
    assert provider.report()["refreshes"] == 0


def test_status_tells_of_account_and_receiver(sender: Program, receiver: Program, run: Run) -> None:
    status = json.loads(run("status", "--json").stdout)
    assert status["sender"]["pid"] == sender.pid
    (account,) = status["accounts"]
    assert (account["name"], account["phase"]) == ("main", "ok")
    (fed,) = account["receivers"]
    assert (fed["pid"], fed["generation"], fed["connected"]) == (receiver.pid, 1, True)
    text = run("status").stdout
    assert str(receiver.pid) in text
    assert "The sender runs" in text


def test_status_goes_on_until_it_is_interrupted(sender: Program, start: Start) -> None:
    watching = start(*TOKENRELAY, "status", "--watch", "--json")
    first = watching.wait_for(lambda line: "accounts" in line.fields)
    watching.wait_for(lambda line: "accounts" in line.fields, after=first)
    os.kill(watching.pid, signal.SIGINT)
    assert watching.wait() == 130
    assert [line.text for line in watching.lines if line.stream == "err"] == []


def test_a_test_token_does_not_replace_the_senders(
    sender: Program, receiver: Program, run: Run
) -> None:
    refused = run("send", "test_token", "--account", "main", succeed=False)
    assert refused.returncode == 5
    assert "--force" in refused.stderr
    run("send", "test_token", "--account", "main", "--force")
    receiver.wait_for_event("token", generation=2)


def test_a_second_sender_is_refused_and_names_the_first(sender: Program, run: Run) -> None:
    second = run("run", succeed=False)
    assert second.returncode == 1
    assert str(sender.pid) in second.stderr


def test_a_running_sender_ends_quietly_when_interrupted(sender: Program) -> None:
    os.kill(sender.pid, signal.SIGINT)
    assert sender.wait() == 0
    assert "Traceback" not in sender.output


def test_an_account_the_sender_does_not_know_ends_with_three(sender: Program, run: Run) -> None:
    assert run("show", "other", succeed=False).returncode == 3
    assert run("refresh", "other", succeed=False).returncode == 3


def test_refresh_does_it_where_no_sender_runs(provider: Provider, host: Host, run: Run) -> None:
    before = host.stored_token()
    done = run("refresh", "--json")
    assert "tokenrelay run" in done.stderr
    stored = host.stored_token()
    assert json.loads(done.stdout)["serial"] == stored["serial"] > before["serial"]
    assert json.loads(run("show", "--json").stdout)["source"] == "file"
    assert provider.report()["refreshes"] == 1
    assert stored["access_token"] not in done.stdout + done.stderr


def test_status_without_a_sender_reads_the_token_file(provider: Provider, run: Run) -> None:
    status = json.loads(run("status", "--json").stdout)
    assert status["sender"] is None
    assert status["accounts"][0]["token"]["expires_at"] == provider.expires_at
    text = run("status").stdout
    assert "tokenrelay run" in text
    assert provider.access_token not in text


def test_run_once_refreshes_delivers_and_ends(
    provider: Provider, receiver: Program, host: Host, run: Run
) -> None:
    run("run", "--once")
    receiver.wait_for_event("token", serial=host.stored_token()["serial"])
    assert provider.report()["refreshes"] == 1


def test_run_once_ends_with_five_where_nobody_listens(provider: Provider, run: Run) -> None:
    assert run("run", "--once", succeed=False).returncode == 5
    assert provider.report()["refreshes"] == 1


def test_a_refresh_token_that_is_over_ends_with_four(
    provider: Provider, host: Host, run: Run
) -> None:
    run("refresh")
    # The first one is spent by now, and the provider has no grace.
    run("import", str(host.root / "login.json"), "--force")
    for command in (["refresh"], ["run", "--once"]):
        over = run(*command, succeed=False)
        assert over.returncode == 4, over.stderr
        assert "tokenrelay login main" in over.stderr
        assert provider.refresh_token not in over.stderr
