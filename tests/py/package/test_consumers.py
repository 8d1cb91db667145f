"""Programs of somebody else's, in C++ and in C, built in each way the package offers: no Python."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import pytest

from support.cpp_package import (
    CONSUMERS,
    PROGRAMS,
    build_with_cmake,
    compile_with_pkg_config,
    install_library,
)
from support.programs import TOKENRELAY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import TextIO

    from support.programs import Program, Start

pytestmark = pytest.mark.timeout(600)

BARE_FLAGS = "-fno-exceptions -fno-rtti -fvisibility=hidden"
CMAKE_OPTIONS = {
    "cmake-default": (),
    "cmake-shared": ("-DCONSUMER_COMPONENTS=shared",),
    "cmake-shared-by-variable": ("-DBUILD_SHARED_LIBS=ON",),
    "cmake-c++23-without-exceptions-and-rtti": (
        "-DCMAKE_CXX_STANDARD=23",
        f"-DCMAKE_CXX_FLAGS={BARE_FLAGS}",
    ),
}
BARE_LIBRARY = "library-without-exceptions-and-rtti"
SHARED = {"cmake-shared", "cmake-shared-by-variable", "pkg-config-shared"}
BUILDS = (*CMAKE_OPTIONS, BARE_LIBRARY, "pkg-config-shared", "pkg-config-static")
NAMES = tuple(source.partition(".")[0] for source in PROGRAMS)


class Find(Protocol):
    """Returns the program of this name, built in the way that the test asks for."""

    def __call__(self, name: str) -> Path: ...


@pytest.fixture(scope="module", params=BUILDS)
def way(request: pytest.FixtureRequest) -> str:
    """How the programs are built."""
    return str(request.param)


@pytest.fixture(scope="module")
def find(way: str, installed_library: Path, tmp_path_factory: pytest.TempPathFactory) -> Find:
    build = tmp_path_factory.mktemp("consumer")
    if way in CMAKE_OPTIONS:
        build_with_cmake(CONSUMERS, build, installed_library, *CMAKE_OPTIONS[way])
    elif way == BARE_LIBRARY:
        prefix = tmp_path_factory.mktemp("bare-prefix")
        options = ("-DCMAKE_CXX_STANDARD=23", f"-DCMAKE_CXX_FLAGS={BARE_FLAGS}")
        install_library(
            tmp_path_factory.mktemp("bare"), prefix, "-DTOKENRELAY_SHARED=OFF", *options
        )
        build_with_cmake(CONSUMERS, build, prefix, *options)
    else:
        for source in PROGRAMS:
            program = build / source.partition(".")[0]
            static = way == "pkg-config-static"
            compile_with_pkg_config(CONSUMERS / source, program, installed_library, static=static)
    return lambda name: build / name


@contextmanager
def sender_to(path: Path) -> Iterator[tuple[socket.socket, TextIO]]:
    with socket.socket(socket.AF_UNIX) as sender:
        sender.settimeout(10)
        sender.connect(str(path))
        yield sender, sender.makefile()


def started(start: Start, program: Path, path: Path, count: int) -> Program:
    """The program, listening at `path` until it has seen `count` tokens."""
    running = start(program, path, str(count))
    running.wait_for(lambda line: line.text == "ready")
    return running


@pytest.mark.parametrize("name", NAMES)
def test_it_receives_tokens_from_a_socket(
    find: Find, name: str, start: Start, short_path: Path
) -> None:
    path = short_path / "token.sock"
    program = started(start, find(name), path, 2)
    with sender_to(path) as (sender, answers):
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


def test_it_uses_the_library_that_was_asked_for(find: Find, way: str) -> None:
    content = find("c_consumer").read_bytes()
    assert (b"libtokenrelay.so.0.1\0" in content) == (way in SHARED)


def test_a_command_of_the_sender_feeds_the_c_program(
    find: Find, start: Start, short_path: Path
) -> None:
    path = short_path / "token.sock"
    program = started(start, find("c_consumer"), path, 1)
    sent = start(*TOKENRELAY, "send", "test_token_abc123", "--to", path)
    program.wait_for(lambda line: line.text.startswith("1 test_token_abc123 "))
    assert sent.wait() == 0
    assert program.wait() == 0


def test_the_c_program_asks_for_a_refresh(find: Find, start: Start, short_path: Path) -> None:
    path = short_path / "token.sock"
    program = started(start, find("c_consumer"), path, 2)
    with sender_to(path) as (sender, answers):
        for serial in (7, 8):
            frame = f'{{"access_token":"t","expires_at":{4102444800 + serial},"serial":{serial}}}\n'
            sender.sendall(frame.encode())
            assert '"ok":true' in answers.readline()
            if serial == 7:
                assert answers.readline() == '{"request":"refresh","serial":7}\n'
    assert program.wait() == 0


@pytest.mark.parametrize("name", NAMES)
def test_it_says_who_holds_the_path(find: Find, name: str, start: Start, short_path: Path) -> None:
    """The library's own message reaches a C or C++ user as it reaches a Python one."""
    path = short_path / "token.sock"
    owner = started(start, find(name), path, 1)
    second = start(find(name), path, "1")
    assert second.wait() == 1
    assert str(owner.pid) in second.output
