"""The example engine: two threads read at full speed while tokens rotate."""

from __future__ import annotations

import socket
import sys
import time
from typing import TYPE_CHECKING

import pytest

from support.cpp_package import REPOSITORY, build_with_cmake, run

if TYPE_CHECKING:
    from pathlib import Path

    from support.programs import Start

pytestmark = pytest.mark.timeout(600)

EXAMPLE = REPOSITORY / "examples" / "trading_engine"


@pytest.fixture(scope="module")
def engine(installed_library: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    build = tmp_path_factory.mktemp("engine")
    build_with_cmake(EXAMPLE, build, installed_library)
    return build / "trading_engine"


def test_no_read_is_stale_while_the_sender_runs(engine: Path) -> None:
    output = run(sys.executable, EXAMPLE / "feed.py", engine, "3")
    assert "0 stale reads past expiry" in output
    assert "tokens: number 3, valid for 2." in output


def test_it_fails_once_a_token_has_expired(engine: Path, start: Start, short_path: Path) -> None:
    """Its verdict can be no: nobody sends a second token here."""
    path = short_path / "engine.sock"
    program = start(engine, path, "3")
    program.wait_for(lambda line: line.text.startswith("tokens: listening"))
    with socket.socket(socket.AF_UNIX) as sender:
        sender.settimeout(10)
        sender.connect(str(path))
        expires_at = int(time.time()) + 2
        sender.sendall(f'{{"access_token":"t","expires_at":{expires_at}}}\n'.encode())
        assert '"ok":true' in sender.makefile().readline()
    assert program.wait() == 1
    assert ", 0 stale reads past expiry" not in program.output
