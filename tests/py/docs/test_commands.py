"""Every command of the documents runs, typed in a terminal by a user who has come that far."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from support.documents import blocks_of, for_each
from support.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.host import Host
    from support.markdown_code import Block
    from support.programs import Start
    from support.strict import StrictApi


BLOCKS = blocks_of(__file__)


@pytest.fixture
def reader(host: Host, api: StrictApi, start: Start) -> Reader:
    return Reader(host, api, start)


def stories() -> Iterator[Any]:
    """What is typed by one reader: a block, or one of the examples of a command."""
    for place, block in BLOCKS.items():
        if place.startswith("docs/cli.md"):
            for number, example in enumerate(block.text.splitlines()):
                yield pytest.param(example, id=f"{place}:{number}")
        elif block.language != "text":
            yield pytest.param(block.commands, id=place)


@pytest.mark.parametrize("text", list(stories()))
def test_a_reader_types_it(text: str, reader: Reader, api: StrictApi) -> None:
    reader.has_done(text)
    reader.types(text)
    assert api.report()["refused"] == 0


@for_each(BLOCKS, "text")
def test_a_line_of_a_crontab_runs_as_cron_runs_it(block: Block, reader: Reader, host: Host) -> None:
    """By sh(1) with a short PATH, in an environment where a program reports what it is given."""
    reader.has_done(block.text)
    (host.root / ".venv").symlink_to(sys.prefix)
    report = host.root / "bin" / "report"
    report.parent.mkdir()
    report.write_text('#!/bin/sh\nexec cat >"$HOME/reported"\n')
    report.chmod(0o755)
    *times, command = block.text.split(maxsplit=5)
    assert len(times) == 5
    environment = {**host.variables, "PATH": "/usr/bin:/bin"}
    subprocess.run(["sh", "-c", command], env=environment, check=True, timeout=30)
    assert (host.root / "reported").read_text().startswith("Authorization: Bearer ")
