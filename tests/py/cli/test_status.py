"""`status --json` keeps to its schema, docs/status.schema.json."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from support.host import write_private
from support.listener import Listener, line, socket_name
from support.programs import RECEIVE, TOKENRELAY, Start, wait_for_tokens

if TYPE_CHECKING:
    from support.command import Run
    from support.host import Host
    from support.provider import StartProvider

SCHEMA = json.loads((Path(__file__).parents[3] / "docs" / "status.schema.json").read_text())


def undocumented(value: Any, schema: dict[str, Any]) -> list[str]:
    """Keys that the schema does not know: it lets later versions add some, so it would not say."""
    if "$ref" in schema:
        return undocumented(value, SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]])
    if isinstance(value, list):
        return [key for item in value for key in undocumented(item, schema["items"])]
    if not isinstance(value, dict):
        return []
    known = schema["properties"]
    return [key for key in value if key not in known] + [
        found for key in value if key in known for found in undocumented(value[key], known[key])
    ]


def check(run: Run) -> dict[str, Any]:
    status: dict[str, Any] = json.loads(run("status", "--json").stdout)
    Draft202012Validator(SCHEMA).validate(status)
    assert undocumented(status, SCHEMA) == []
    return status


@pytest.fixture(autouse=True)
def configured(host: Host, oauth_toolkit: StartProvider) -> None:
    provider = oauth_toolkit(access_token_seconds=600)
    host.configure(provider, login_lifetime="7d")
    host.import_login(provider, granted_at=int(time.time()))


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_status_of_a_sender_with_receivers_good_and_bad(run: Run, start: Start, host: Host) -> None:
    receiver = start(*RECEIVE)
    receiver.wait_for_event("ready")
    sender = start(*TOKENRELAY, "run")
    wait_for_tokens(receiver, 1)
    refusal = line(ok=False, error="malformed", detail="x")
    with Listener(host.runtime / "main" / socket_name(), lambda _: refusal):
        sender.wait_for_event("receiver not served")
        (account,) = check(run)["accounts"]
    errors = {one["pid"]: one["error"] for one in account["receivers"]}
    assert errors.pop(receiver.pid) is None
    assert list(errors.values()) == ["refused: malformed: x"]
    assert account["last_refresh_at"] is None
    run("refresh")
    wait_for_tokens(receiver, 2)
    (account,) = check(run)["accounts"]
    assert account["last_refresh_at"] is not None
    assert account["receivers"][0]["generation"] == 2
    assert account["grant_expires_at"] - account["granted_at"] == 7 * 86_400


def test_status_says_where_a_sender_uses_another_file_than_the_one_named(
    run: Run, start: Start, host: Host
) -> None:
    start(*TOKENRELAY, "run").wait_for_event("ready")
    other = host.root / "other.toml"
    write_private(other, host.config.read_text())
    assert run("status", "--config", str(host.config)).stderr == ""
    told = run("status", "--config", str(other)).stderr
    assert told == f"The sender that runs uses {host.config}, not {other}.\n"
    write_private(other, "not TOML")
    assert run("status", "--config", str(other)).stderr == told
    missing = run("status", "--config", "/nowhere.toml", succeed=False)
    assert missing.returncode == 3
    assert missing.stderr.endswith("write one: tokenrelay --config /nowhere.toml init\n")


def test_status_without_a_sender(run: Run, host: Host) -> None:
    assert check(run)["sender"] is None
    host.token_file().unlink()
    (account,) = check(run)["accounts"]
    assert account["token"] is None
    assert "tokenrelay login main" in account["last_error"]


def test_status_of_a_login_that_the_provider_ended(run: Run, start: Start, host: Host) -> None:
    run("refresh")
    run("import", str(host.root / "login.json"), "--force")
    sender = start(*TOKENRELAY, "run")
    sender.wait_for_event("ready")
    run("refresh", succeed=False)
    (account,) = check(run)["accounts"]
    assert account["phase"] == "login_needed"
    assert account["failures"] == 1


def test_status_of_a_sender_that_refused_a_configuration(
    run: Run, start: Start, host: Host
) -> None:
    sender = start(*TOKENRELAY, "run")
    sender.wait_for_event("ready")
    good = host.config.read_text()
    host.config.write_text(f"{good}log_levle = 'debug'\n")
    os.kill(sender.pid, signal.SIGHUP)
    sender.wait_for_event("configuration refused, the old one stays")
    line_number = len(good.splitlines()) + 1
    error = check(run)["sender"]["config_error"]
    assert error.startswith(f"{host.config}:{line_number}: sender.log_levle: unknown key")
    text = run("status").stdout
    assert error in " ".join(text.split())
    assert f"\n  kill -HUP {sender.pid}\n" in text
    host.config.write_text(good)
    os.kill(sender.pid, signal.SIGHUP)
    sender.wait_for_event("configuration reloaded")
    assert check(run)["sender"]["config_error"] is None
    assert "refused" not in run("status").stdout


def test_json_that_is_watched_in_a_terminal_is_json_alone(host: Host) -> None:
    ours, theirs = pty.openpty()
    watching = subprocess.Popen(
        [*TOKENRELAY, "status", "--watch", "--json"], env=host.environment, stdout=theirs
    )
    os.close(theirs)
    with watching, os.fdopen(ours) as terminal:
        seen = [json.loads(terminal.readline()) for _ in range(2)]
        watching.terminate()
    assert [one["sender"] for one in seen] == [None, None]
