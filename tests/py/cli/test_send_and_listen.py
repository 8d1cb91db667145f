"""`send` and `listen`, against real receivers; neither needs a configuration."""

from __future__ import annotations

import json
import shlex
import subprocess
from typing import TYPE_CHECKING

import pytest

from support.host import write_private
from support.programs import RECEIVE, TOKENRELAY, Program, Start
from tokenrelay import TokenReceiver

if TYPE_CHECKING:
    from pathlib import Path

    from support.command import Run
    from support.host import Host

FAR_FUTURE = 4102444800


def start_receiver(start: Start, *arguments: str | Path) -> Program:
    receiver = start(*RECEIVE, *arguments)
    receiver.wait_for_event("ready")
    return receiver


def test_send_reaches_every_receiver_of_an_account(run: Run, start: Start) -> None:
    receivers = [start_receiver(start, "main") for _ in range(2)]
    sent = run("send", "test_token", "--account", "main", "--json")
    results = json.loads(sent.stdout)["receivers"]
    assert [result["generation"] for result in results] == [1, 1]
    for receiver in receivers:
        receiver.wait_for_event("token", generation=1)


def test_send_to_a_path_says_what_the_receiver_answered(run: Run, short_path: Path) -> None:
    path = short_path / "token.sock"
    with TokenReceiver(path=path) as receiver:
        sent = run("send", "test_token", "--to", str(path))
        assert sent.stdout == f"{path}: received, generation 1\n"
        assert receiver.wait(timeout=5).access_token == "test_token"


def test_each_test_token_replaces_the_one_before(run: Run, short_path: Path) -> None:
    path = short_path / "token.sock"
    with TokenReceiver(path=path) as receiver:
        for number in range(1, 4):
            run("send", f"token-{number}", "--to", str(path))
            token = receiver.token
            assert token is not None
            assert (token.access_token, token.generation) == (f"token-{number}", number)


def test_a_senders_token_is_replaced_only_by_force(run: Run, short_path: Path) -> None:
    path = short_path / "token.sock"
    with TokenReceiver(path=path) as receiver:
        subprocess.run(
            ["nc", "-N", "-U", str(path)],
            input=json.dumps({"access_token": "a", "expires_at": FAR_FUTURE, "serial": 10**12}),
            text=True,
            check=True,
            capture_output=True,
            timeout=10,
        )
        refused = run("send", "test_token", "--to", str(path), succeed=False)
        assert refused.returncode == 5
        assert "--force" in refused.stderr
        assert receiver.wait(timeout=5).access_token == "a"
        run("send", "test_token", "--to", str(path), "--force")
        assert receiver.wait(timeout=5).access_token == "test_token"


@pytest.mark.parametrize(
    ("text", "access_token", "expires_at"),
    [
        ("secret-token\n", "secret-token", None),
        (f'{{"access_token": "b", "expires_at": {FAR_FUTURE}}}', "b", FAR_FUTURE),
        ('{"access_token": "c", "refresh_token": "never-sent"}\n', "c", None),
    ],
    ids=["bare", "json", "json-without-expiry"],
)
def test_a_real_token_comes_through_standard_input(
    run: Run, short_path: Path, text: str, access_token: str, expires_at: int | None
) -> None:
    path = short_path / "token.sock"
    with TokenReceiver(path=path) as receiver:
        run("send", "-", "--to", str(path), stdin=text)
        token = receiver.wait(timeout=5)
        assert token.access_token == access_token
        assert expires_at in (None, token.expires_at)


@pytest.mark.parametrize(
    "text", ["", "two words", "caf\u00e9", "{", '{"access_token": 7}', "x" * 70_000]
)
def test_what_is_no_token_is_refused_without_repeating_it(run: Run, text: str) -> None:
    refused = run("send", "-", stdin=text, succeed=False)
    assert refused.returncode == 1
    assert refused.stderr.startswith("tokenrelay: ")
    assert len(text) < 2 or text not in refused.stderr


def test_send_where_nobody_listens_ends_with_five(run: Run) -> None:
    alone = run("send", "test_token", succeed=False)
    assert alone.returncode == 5
    assert "tokenrelay listen" in alone.stderr


def test_listen_tells_what_arrives_and_never_the_token(run: Run, start: Start) -> None:
    listener = start(*TOKENRELAY, "listen", "main", "--count", "2", "--json")
    listener.wait_for(lambda line: "listening on" in line.text)
    for token in ("first_token", "second_token"):
        run("send", token, "--account", "main")
    assert listener.wait() == 0
    told = [line.fields for line in listener.lines if line.stream == "out"]
    assert [fields["generation"] for fields in told] == [1, 2]
    assert 0 < told[0]["latency_us"] < 5e6
    assert 0 < told[0]["expires_in"] <= 1800
    assert "first_token" not in listener.output


def test_listen_at_a_path_prints_a_line_for_people(
    run: Run, start: Start, short_path: Path
) -> None:
    path = short_path / "token.sock"
    listener = start(*TOKENRELAY, "listen", "--path", path, "--count", "1")
    listener.wait_for(lambda line: str(path) in line.text)
    run("send", "test_token", "--to", str(path))
    line = listener.wait_for(lambda line: line.stream == "out")
    assert "generation 1" in line.text
    assert "valid for 29m 59s" in line.text or "valid for 30m" in line.text


def test_a_terminal_that_is_not_utf8_shows_what_it_can(
    run: Run, host: Host, start: Start, short_path: Path
) -> None:
    path = short_path / "token.sock"
    listener = start(
        *(*TOKENRELAY, "listen", "--path", path, "--count", "1"),
        environment={**host.environment, "PYTHONIOENCODING": "ascii"},
    )
    listener.wait_for(lambda line: str(path) in line.text)
    run("send", "test_token", "--to", str(path))
    assert listener.wait() == 0, listener.output


def test_a_listener_that_is_ended_leaves_no_socket(
    run: Run, start: Start, short_path: Path
) -> None:
    path = short_path / "token.sock"
    listener = start(*TOKENRELAY, "listen", "--path", path)
    listener.wait_for(lambda line: str(path) in line.text)
    assert listener.terminate() == 143
    assert not path.exists()
    assert "Traceback" not in listener.output


def test_listen_at_a_path_that_cannot_be_says_why(run: Run, short_path: Path) -> None:
    path = short_path / "file"
    path.touch()
    refused = run("listen", "--path", str(path), succeed=False)
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"tokenrelay: {path} exists and is not a socket")
    assert [entry.name for entry in short_path.iterdir()] == [path.name]


def test_a_closed_pipe_ends_listen_quietly(short_path: Path, start: Start) -> None:
    path = short_path / "token.sock"
    command = " ".join([*TOKENRELAY, "listen", "--path", str(path), "| true"])
    pipeline = start("bash", "-o", "pipefail", "-c", command)
    assert pipeline.wait() == 0
    assert [line.text for line in pipeline.lines if str(path) not in line.text] == []


def test_listen_ends_when_its_reader_has_seen_enough(
    start: Start, run: Run, short_path: Path
) -> None:
    """`head` ends after the first token; no second one has to come."""
    path = short_path / "token.sock"
    command = f"set -o pipefail; {shlex.join(TOKENRELAY)} listen --path {path} --json | head -n 1"
    listening = start("bash", "-c", command)
    listening.wait_for(lambda line: line.text == f"listening on {path}; Ctrl-C ends it")
    run("send", "test_token", "--to", str(path))
    assert listening.wait() == 0
    assert [line.stream for line in listening.lines] == ["err", "out"]
    assert not path.exists()


def test_show_into_a_closed_pipe_is_quiet(host: Host) -> None:
    write_private(
        host.config, '[accounts.main]\nclient_id = "c"\ntoken_url = "https://localhost/"\n'
    )
    host.state.mkdir(mode=0o700)
    token = {"access_token": "a", "expires_at": FAR_FUTURE}
    write_private(host.token_file(), json.dumps(token))
    done = subprocess.run(
        ["bash", "-c", f"{shlex.join(TOKENRELAY)} show | true"], env=host.environment,
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.stderr == ""


def test_a_configuration_not_yet_filled_in_keeps_no_test_token_back(
    run: Run, host: Host, start: Start
) -> None:
    receiver = start_receiver(start, "main")
    write_private(host.config, "[accounts.main]\n")
    assert "accounts.main.client_id" in run("send", "test_token", "--account", "main").stderr
    receiver.wait_for_event("token", generation=1)
    named = run("send", "test_token", "--account", "main", "--config", str(host.config),
                succeed=False)  # fmt: skip
    assert named.returncode == 3


def test_who_reaches_nobody_is_told_how_to_listen_there(run: Run, short_path: Path) -> None:
    to_account = run("send", "test_token", "--account", "main", succeed=False)
    assert to_account.stderr.endswith("To have a receiver: tokenrelay listen main\n")
    path = short_path / "nobody.sock"
    to_path = run("send", "test_token", "--to", str(path), succeed=False)
    assert to_path.stderr.endswith(f"To have a receiver: tokenrelay listen --path {path}\n")
