"""What the command line costs before it does anything: CPU seconds, shown, never asserted."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import pytest

from lab.statistics import percentiles

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Publish

RUNS = 20
PROMISE_SECONDS = 0.2
COMMANDS = (["--help"], ["show", "main"], ["show", "--help"])


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A user with one login and no sender."""
    token = tmp_path / "main.json"
    config = tmp_path / "tokenrelay.toml"
    for path in (token, config):
        path.touch(mode=0o600)
    token.write_text(json.dumps({"access_token": "a", "expires_at": 4102444800}))
    config.write_text(
        '[accounts.main]\nclient_id = "c"\ntoken_url = "https://localhost/token"\n'
        f'token_file = "{token}"\n'
    )
    return {
        **os.environ,
        "TOKENRELAY_CONFIG": str(config),
        "TOKENRELAY_RUNTIME_DIR": str(tmp_path / "run"),
    }


def cpu_ns(command: list[str], environment: dict[str, str]) -> float:
    """User and system time of one run that ends well."""
    quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    pid = os.posix_spawn(command[0], command, environment, file_actions=quiet)
    _, status, usage = os.wait4(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return (usage.ru_utime + usage.ru_stime) * 1e9


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_start(arguments: list[str], environment: dict[str, str], publish: Publish) -> None:
    command = [sys.executable, "-m", "tokenrelay", *arguments]
    samples = [cpu_ns(command, environment) for _ in range(RUNS)]
    p50 = percentiles(samples).p50 / 1e9
    note = f"p50 {p50:.3f} s of CPU; promised: {PROMISE_SECONDS} s"
    publish("CPU of a command", f"tokenrelay {' '.join(arguments)}", samples, note)
