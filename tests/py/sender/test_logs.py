from __future__ import annotations

import io
import json

import pytest
import structlog

from tokenrelay.sender import logs


@pytest.fixture(autouse=True)
def _restored() -> object:
    yield
    structlog.reset_defaults()


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_registered_secret_never_reaches_the_log(log_format: str) -> None:
    stream = io.StringIO()
    logs.configure_logs(log_format=log_format, level="debug", stream=stream)
    logs.redactor.register("canary-secret", owner="main")
    log = logs.get_log(account="main")
    log.info(
        "got canary-secret",
        a=["x canary-secret"],
        b={"k": "canary-secret"},
        c=OSError("canary-secret"),
    )
    try:
        raise ValueError("canary-secret")
    except ValueError:
        log.exception("failed")
    text = stream.getvalue()
    assert "canary" not in text
    assert text.count(logs.REDACTED) >= 5
    assert "account" in text


def test_json_is_one_object_a_line_and_levels_hold() -> None:
    stream = io.StringIO()
    logs.configure_logs(log_format="json", level="warning", stream=stream)
    log = logs.get_log()
    log.info("hidden")
    log.warning("shown", count=3)
    (line,) = stream.getvalue().splitlines()
    fields = json.loads(line)
    assert (fields["event"], fields["count"], fields["level"]) == ("shown", 3, "warning")


def test_log_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure_logs()
    logs.get_log().info("here")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "here" in captured.err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_a_terminal_that_wants_no_colours_gets_none(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], coloured: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    stream = Terminal()
    logs.configure_logs(stream=stream)
    logs.get_log().info("here")
    assert ("\x1b[" in stream.getvalue()) is coloured


def redacted(redactor: logs.Redactor, text: str) -> object:
    return redactor(None, "info", {"event": text})["event"]


def test_short_texts_and_old_secrets_are_forgotten() -> None:
    redactor = logs.Redactor()
    for secret in ("abc", *(f"secret-{number:03}" for number in range(100))):
        redactor.register(secret, owner="main")
    text = "abc secret-000 secret-099"
    assert redacted(redactor, text) == f"abc secret-000 {logs.REDACTED}"


def test_secrets_of_a_thousand_accounts_are_remembered() -> None:
    redactor = logs.Redactor()
    for generation in range(10):
        for account in range(1000):
            redactor.register("shared-client-secret", owner=f"{account} client")
            redactor.register(f"access-{account:04}-{generation}", owner=f"{account}")
            redactor.register(f"refresh-{account:04}-{generation}", owner=f"{account}")
    for account in range(1000):
        text = f"access-{account:04}-9 refresh-{account:04}-6 shared-client-secret"
        assert redacted(redactor, text) == " ".join([logs.REDACTED] * 3)


def test_a_secret_counts_as_long_as_one_owner_has_it() -> None:
    redactor = logs.Redactor()
    for owner in ("one", "other"):
        redactor.register("shared-secret", owner=owner)
    for number in range(8):
        redactor.register(f"secret-{number}", owner="one")
    assert redacted(redactor, "shared-secret") == logs.REDACTED


def test_the_longer_of_two_secrets_leaves_nothing_behind() -> None:
    redactor = logs.Redactor()
    for secret in ("secret", "secret-and-more"):
        redactor.register(secret, owner="main")
    assert redacted(redactor, "(secret-and-more, secret)") == f"({logs.REDACTED}, {logs.REDACTED})"
