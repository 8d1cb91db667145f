"""`gunicorn --preload`: the parent and each of its workers are fed by one running sender."""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.documents import blocks_of
from support.programs import TOKENRELAY

if TYPE_CHECKING:
    from support.host import Host
    from support.programs import Program, Start
    from support.provider import StartProvider

WORKERS = 4
HERE = Path(__file__).parent


def start_gunicorn(start: Start, host: Host) -> tuple[Program, str]:
    """Return the program, with the documents' settings, and its URL once all workers are there."""
    (settings,) = blocks_of(__file__).values()
    path = host.root / "gunicorn_conf.py"
    path.write_text(settings.text)
    command = [sys.executable, "-m", "gunicorn", "-c", path, "--bind", "127.0.0.1:0"]
    program = start(*command, "application:application", environment=environment(host))
    line = program.wait_for(lambda line: "Listening at: " in line.text)
    url = line.text.partition("Listening at: ")[2].split()[0]
    for _ in range(WORKERS):
        line = program.wait_for(lambda line: "Booting worker" in line.text, after=line)
    return program, url


def environment(host: Host) -> dict[str, str]:
    return {**host.environment, "PYTHONPATH": str(HERE), "PYTHONWARNINGS": "ignore"}


def ask_until_all_told(url: str, token: str) -> None:
    """Ask until each worker has told this token."""
    told: set[int] = set()
    deadline = time.monotonic() + 30
    while len(told) < WORKERS:
        assert time.monotonic() < deadline, f"{len(told)} workers have the token"
        with urllib.request.urlopen(url, timeout=30) as response:
            answer = json.load(response)
        if answer["token"] == token:
            told.add(answer["pid"])


@pytest.mark.sources
def test_each_preloaded_worker_is_fed(
    host: Host, oauth_toolkit: StartProvider, start: Start
) -> None:
    provider = oauth_toolkit(access_token_seconds=600)
    host.configure(provider)
    host.import_login(provider)
    start(*TOKENRELAY, "run").wait_for_event("ready")
    program, url = start_gunicorn(start, host)
    ask_until_all_told(url, host.stored_token()["access_token"])
    host.run("refresh", "main")
    ask_until_all_told(url, host.stored_token()["access_token"])
    receivers = list((host.runtime / "main").glob("*.sock"))
    assert len(receivers) == WORKERS + 1
    assert program.terminate() == 0
