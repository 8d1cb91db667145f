"""`tokenrelay status --watch` in a terminal."""

from __future__ import annotations

import re
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.documents import assert_quoted, blocks_of
from support.programs import TOKENRELAY
from support.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.host import Host
    from support.programs import Program
    from support.provider import Provider

BUILD = Path(__file__).parents[2] / "build" / "operations"


@pytest.fixture
def terminal(host: Host) -> Iterator[Terminal]:
    with Terminal(host.root, host.environment) as terminal:
        yield terminal


@pytest.fixture(autouse=True)
def configured(host: Host, provider: Provider) -> None:
    host.configure(provider, login_lifetime="7d")
    host.import_login(provider, granted_at=int(time.time()))


def test_the_screen_follows_the_sender(
    terminal: Terminal, host: Host, sender: Program, receiver: Program
) -> None:
    terminal.type(f"{shlex.join(TOKENRELAY)} status --watch; echo ended with $?")
    row = re.compile(rf"main +\S+ +{receiver.pid} +1 +\d+s ago +[\d.]+ (µs|ms)")
    first = terminal.wait_for(lambda screen: row.search(screen) is not None)
    assert re.search(rf"The sender runs: process {sender.pid}", first)
    assert re.search(r"main +ok +█+\S* +9m \d+s +█+\S* +6d 23h", first)
    host.run("refresh")
    second = terminal.wait_for(lambda screen: re.search(r"main.* 2 +\d+s ago", screen) is not None)
    (documented,) = blocks_of(__file__).values()
    assert_quoted(documented, second)
    BUILD.mkdir(parents=True, exist_ok=True)
    (BUILD / "status-watch.txt").write_text(second + "\n")
    sender.terminate()
    terminal.wait_for(lambda screen: "No sender runs. Start it: tokenrelay run" in screen)
    terminal.press("C-c")
    terminal.wait_for(lambda screen: "ended with 130" in screen)
    assert "Traceback" not in terminal.screen
