"""Every C++, C and CMake block of the documents is built with the installed library, and runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from program_ends import end

from support.cpp_package import (
    REPOSITORY,
    build_with_cmake,
    compile_with_pkg_config,
    pkg_config,
    places,
    run,
)
from support.documents import blocks_of, for_each

if TYPE_CHECKING:
    from pathlib import Path

    from support.host import Host
    from support.markdown_code import Block
    from support.programs import Start

pytestmark = pytest.mark.timeout(600)

BLOCKS = blocks_of(__file__)
SHELL = [(place, block.text) for place, block in BLOCKS.items() if block.language == "sh"]
# What a block of a few lines takes for granted.
PRELUDE = """\
#include <sys/epoll.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string_view>
#include <tokenrelay/tokenrelay.hpp>
static const int my_epoll = epoll_create1(0);
static bool running() {
    static int rounds = 3;
    return rounds-- > 0;
}
static void say(const char* what) {
    std::puts(what);
    std::fflush(stdout);
}
static void send_header(std::string_view header) {
    say(header.starts_with("Bearer ") ? "sent a header" : "sent nonsense");
}
static void note(std::uint64_t, std::chrono::nanoseconds) { say("noted"); }
static int call_api(const tokenrelay::Token& token) { return token.generation() == 1 ? 401 : 200; }
"""
ALONE = "int main() { block(); }\n"
FED = """\
int main() {
    tokenrelay::TokenReceiver receiver{{.account = "schwab"}};
    if (receiver.start() || !receiver.wait(std::chrono::seconds(10))) return 1;
    say("fed");
    block(receiver);
}
"""
PROJECT = """\
cmake_minimum_required(VERSION 3.20)
project(block LANGUAGES CXX)
add_executable(my_engine my_engine.cpp)
"""
ENGINE = "#include <tokenrelay/tokenrelay.hpp>\nint main() { tokenrelay::TokenReceiver one{{}}; }\n"


def whole_program(text: str) -> str:
    """The block itself if it is one, else a function around it, its includes before it."""
    if "int main(" in text:
        return text
    lines = text.splitlines()
    includes = [line for line in lines if line.startswith("#include")]
    body = [line for line in lines if not line.startswith("#include")]
    has_receiver = "tokenrelay::TokenReceiver receiver" in text
    parameter = "" if has_receiver else "tokenrelay::TokenReceiver& receiver"
    function = [f"static void block({parameter}) {{", *body, "}", ALONE if has_receiver else FED]
    return "\n".join([PRELUDE, *includes, *function])


@for_each(BLOCKS, "cpp", "c")
def test_a_block_compiles_and_runs(
    block: Block, installed_library: Path, fed_host: Host, start: Start, tmp_path: Path
) -> None:
    """What waits for a next token has it after `fed`, by a refresh."""
    source, program = tmp_path / f"block.{block.language}", tmp_path / "block"
    source.write_text(whole_program(block.text))
    compile_with_pkg_config(source, program, installed_library, "-Wno-unused")
    started = start(program, environment=fed_host.environment)
    if block.until:
        started.wait_for(lambda line: line.text == "fed")
        fed_host.run("refresh", "schwab")
    end(started, block.until)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source tree without a build directory."""
    folder = tmp_path_factory.mktemp("sources")
    for path in REPOSITORY.iterdir():
        if path.name != "build":
            (folder / path.name).symlink_to(path)
    return folder


@pytest.mark.parametrize("page", ["docs/cpp.md", "README.md"])
def test_the_library_is_built_and_installed(page: str, sources: Path, tmp_path: Path) -> None:
    (text,) = (text for place, text in SHELL if place.startswith(page) and "cmake" in text)
    run("bash", "-euc", text, folder=sources, environment={"DESTDIR": str(tmp_path)})
    assert (tmp_path / "usr/local/include/tokenrelay/tokenrelay.hpp").exists()


def test_an_engine_is_compiled_in_one_line(
    installed_library: Path, fed_host: Host, start: Start, tmp_path: Path
) -> None:
    (text,) = (text for _, text in SHELL if "g++" in text)
    engine = next(one.text for one in BLOCKS.values() if "int main()" in one.text)
    (tmp_path / "my_engine.cpp").write_text(engine)
    libraries = {"LD_LIBRARY_PATH": pkg_config(installed_library, "--variable=libdir")[0]}
    for command in text.splitlines():
        run("bash", "-euc", command, folder=tmp_path, environment=places(installed_library))
        started = start(tmp_path / "a.out", environment=fed_host.environment | libraries)
        started.wait_for(lambda line: line.text.startswith("token 1, "))
        end(started, ())


@for_each(BLOCKS, "cmake")
def test_a_cmake_block_builds_an_engine(
    block: Block, installed_library: Path, tmp_path: Path
) -> None:
    (tmp_path / "my_engine.cpp").write_text(ENGINE)
    (tmp_path / "CMakeLists.txt").write_text(PROJECT + block.text)
    build_with_cmake(tmp_path, tmp_path / "build", installed_library)
