"""Every program of the documents runs, against a real sender and an API that refuses bad tokens."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from markdown_code import Block, programs, read_blocks
from pages import PAGES

from support.host import Host
from support.programs import TOKENRELAY, Program
from support.strict import StrictApi

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.programs import Start

WITH_PROGRAMS = [page for page in PAGES if programs(read_blocks(page), "python")]


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """One user's directories for all documents."""
    with tempfile.TemporaryDirectory(prefix="relay-", dir="/tmp") as root:
        yield Host(Path(root))


@pytest.fixture(scope="module")
def feed(host: Host) -> Iterator[StrictApi]:
    """A running sender with the account `schwab`, and the API that its tokens are for."""
    api = StrictApi.start()
    host.configure(api, name="schwab")
    host.import_login(api, name="schwab")
    sender = Program([*TOKENRELAY, "run"], environment=host.environment)
    sender.wait_for_event("ready")
    yield api
    sender.dispose()
    api.program.dispose()


def localized(text: str, api: StrictApi) -> str:
    """The program with the example's server replaced by ours, which has no certificate."""
    local = "grpc.local_channel_credentials(grpc.LocalConnectionType.LOCAL_TCP)"
    replacements = {
        'TokenReceiver("default")': 'TokenReceiver("schwab")',
        "https://api.example.com": api.origin,
        "wss://api.example.com": api.origin.replace("http", "ws"),
        "api.example.com:443": api.grpc_target,
        "grpc.ssl_channel_credentials()": local,
    }
    for example, ours in replacements.items():
        text = text.replace(example, ours)
    return text


def end(program: Program, block: Block) -> None:
    """Wait for its end; where it has none, interrupt it once it has printed what is awaited."""
    line = None
    for text in block.until:
        line = program.wait_for(lambda line, text=text: text in line.text, after=line)
    if block.until:
        os.kill(program.pid, signal.SIGINT)
    code = program.wait()
    assert code in ((0,) if not block.until else (0, 130, -signal.SIGINT)), program.output


@pytest.mark.parametrize("page", WITH_PROGRAMS, ids=lambda page: page.stem)
def test_every_program_of_a_document_runs(
    page: Path, feed: StrictApi, start: Start, tmp_path: Path
) -> None:
    for number, block in enumerate(programs(read_blocks(page), "python")):
        file = tmp_path / f"{page.stem}_{number}.py"
        file.write_text(localized(block.text, feed))
        end(start(sys.executable, "-W", "ignore::DeprecationWarning", file), block)
    assert feed.report()["refused"] == 0
