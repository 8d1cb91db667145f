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
    logs.redactor.register("canary-secret")
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


def test_short_texts_and_old_secrets_are_forgotten() -> None:
    redactor = logs.Redactor(["abc"])
    for number in range(100):
        redactor.register(f"secret-{number:03}")
    event = redactor(None, "info", {"event": "abc secret-000 secret-099"})
    assert event["event"] == f"abc secret-000 {logs.REDACTED}"
