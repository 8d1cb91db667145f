"""Pages that begin with `pip install`: typed in a new environment, with the wheel of this tree."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.documents import REPOSITORY, assert_quoted, blocks_of, for_each
from support.host import Host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.markdown_code import Block

pytestmark = pytest.mark.timeout(600)

WHEELHOUSE = REPOSITORY / "build" / "wheelhouse"
# Those that install come first.
BLOCKS = dict(
    sorted(blocks_of(__file__).items(), key=lambda item: "pip install" not in item[1].text)
)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An activated environment with nothing in it but pip, which finds the wheels here."""
    assert list(WHEELHOUSE.glob("tokenrelay-*.whl")), "no wheels: see tests/installed/conftest.py"
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run(["/usr/bin/python3", "-m", "venv", folder], check=True)
    return {
        **os.environ,
        "PATH": f"{folder / 'bin'}:/usr/bin:/bin",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(WHEELHOUSE),
    }


@pytest.fixture(scope="module")
def type_command(environment: dict[str, str]) -> Iterator[Callable[[str], str]]:
    """A function that runs a command to its end, once however often it is documented."""
    with tempfile.TemporaryDirectory(prefix="relay-", dir="/tmp") as home:
        variables = environment | Host(Path(home)).variables

        @cache
        def run(command: str) -> str:
            done = subprocess.run(
                ["bash", "-euc", command], env=variables, cwd=home, text=True, timeout=300,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
            )  # fmt: skip
            # A busy machine breaks promises of latency, which `bench` then says and ends with 1.
            allowed = (0, 1) if command.startswith("tokenrelay bench") else (0,)
            assert done.returncode in allowed, done.stdout
            assert "Traceback" not in done.stdout, done.stdout
            return done.stdout

        yield run


@for_each(BLOCKS, "sh", "console")
def test_each_command_runs(block: Block, type_command: Callable[[str], str]) -> None:
    for line in block.commands.splitlines():
        type_command(re.sub(r"\s+#.*", "", line))


@for_each(BLOCKS, "text")
def test_the_demo_shows_what_the_page_shows(
    block: Block, type_command: Callable[[str], str]
) -> None:
    """Its events come in an order that depends on the machine."""
    assert_quoted(block, type_command("tokenrelay demo"), ordered=False)
