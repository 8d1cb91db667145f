"""A C++ program of somebody else's, built against the installed library: no Python in it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.programs import Start

REPOSITORY = Path(__file__).parents[2]
# CMake and Ninja come from PyPI and lie beside the interpreter that runs the tests.
BUILD_ENVIRONMENT = {
    **os.environ,
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    "CMAKE_GENERATOR": "Ninja",
}

pytestmark = pytest.mark.timeout(600)


def cmake(*arguments: str | Path) -> None:
    done = subprocess.run(
        ["cmake", *map(str, arguments)],
        env=BUILD_ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prefix the library was installed to, as a distribution would do it."""
    build = tmp_path_factory.mktemp("library")
    prefix = tmp_path_factory.mktemp("prefix")
    cmake("-S", REPOSITORY, "-B", build, f"-DPython_EXECUTABLE={sys.executable}")
    cmake("--build", build)
    cmake("--install", build, "--prefix", prefix)
    return prefix


@pytest.fixture(scope="module")
def consumer(prefix: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    build = tmp_path_factory.mktemp("consumer")
    source = REPOSITORY / "tests" / "consumer"
    cmake("-S", source, "-B", build, f"-DCMAKE_PREFIX_PATH={prefix}")
    cmake("--build", build)
    return build / "consumer"


def test_it_receives_tokens_from_a_socket(consumer: Path, start: Start, short_path: Path) -> None:
    path = short_path / "token.sock"
    program = start(consumer, path, "2")
    program.wait_for(lambda line: line.text == "ready")
    with socket.socket(socket.AF_UNIX) as sender:
        sender.settimeout(10)
        sender.connect(str(path))
        answers = sender.makefile()
        for generation in (1, 2):
            frame = f'{{"access_token":"token-{generation}","expires_at":4102444800}}\n'
            sender.sendall(frame.encode())
            assert answers.readline() == f'{{"ok":true,"generation":{generation}}}\n'
            told = program.wait_for(lambda line, g=generation: line.text.startswith(f"{g} "))
            number, token, expires_at, redacted = told.text.split(" ", 3)
            assert (number, token, expires_at) == (
                str(generation),
                f"token-{generation}",
                "4102444800",
            )
            assert "token-" not in redacted
    assert program.wait() == 0


def test_it_says_who_holds_the_path(consumer: Path, start: Start, short_path: Path) -> None:
    """The library's own message reaches a C++ user as it reaches a Python one."""
    path = short_path / "token.sock"
    owner = start(consumer, path, "1")
    owner.wait_for(lambda line: line.text == "ready")
    second = start(consumer, path, "1")
    assert second.wait() == 1
    assert str(owner.pid) in second.output


def test_nothing_installed_needs_python(consumer: Path, prefix: Path) -> None:
    libraries = subprocess.run(["ldd", consumer], capture_output=True, text=True, check=True)
    assert "python" not in libraries.stdout
    headers = [path.read_text() for path in prefix.rglob("*.hpp")]
    assert headers
    assert not any("Python.h" in text or "nanobind" in text for text in headers)
