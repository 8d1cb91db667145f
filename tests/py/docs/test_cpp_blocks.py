"""Every C++, C and CMake block of the documents compiles against the installed library."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from support.cpp_package import (
    REPOSITORY,
    STRICT,
    build_with_cmake,
    compile_with_pkg_config,
    pkg_config,
    run,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(600)

DOCUMENTS = (
    REPOSITORY / "README.md",
    *sorted((REPOSITORY / "docs").glob("*.md")),
    *sorted((REPOSITORY / "examples").glob("*/README.md")),
)
FENCE = re.compile(r"^```(cpp|c|cmake)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What a block of a few lines takes for granted.
PRELUDE = """\
#include <chrono>
#include <cstdint>
#include <string_view>
#include <tokenrelay/tokenrelay.hpp>
extern int my_epoll;
bool running();
void send_header(std::string_view);
void note(std::uint64_t, std::chrono::nanoseconds);
int call_api(const tokenrelay::Token&);
"""
PROJECT = """\
cmake_minimum_required(VERSION 3.20)
project(block LANGUAGES CXX)
add_executable(my_engine my_engine.cpp)
"""
ENGINE = "#include <tokenrelay/tokenrelay.hpp>\nint main() { tokenrelay::TokenReceiver one{{}}; }\n"


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block, and where it stands."""

    language: str
    text: str
    place: str


def blocks() -> Iterator[Block]:
    for document in DOCUMENTS:
        content = document.read_text()
        for match in FENCE.finditer(content):
            line = content.count("\n", 0, match.start()) + 1
            place = f"{document.relative_to(REPOSITORY)}:{line}"
            yield Block(match[1], match[2], place)


BLOCKS = list(blocks())


def of(language: str) -> pytest.MarkDecorator:
    found = [block for block in BLOCKS if block.language == language]
    return pytest.mark.parametrize("block", found, ids=[block.place for block in found])


def whole_program(text: str) -> str:
    """The block itself if it is one, else a function around it, its includes before it."""
    if "int main(" in text:
        return text
    lines = text.splitlines()
    includes = [line for line in lines if line.startswith("#include")]
    body = [line for line in lines if not line.startswith("#include")]
    has_receiver = "tokenrelay::TokenReceiver receiver" in text
    parameter = "" if has_receiver else "tokenrelay::TokenReceiver& receiver"
    return "\n".join([PRELUDE, *includes, f"void block({parameter}) {{", *body, "}", ""])


def test_the_documents_have_blocks_of_each_language() -> None:
    assert {"cpp", "c", "cmake"} == {block.language for block in BLOCKS}


@of("cpp")
def test_a_cpp_block_compiles(block: Block, installed_library: Path, tmp_path: Path) -> None:
    source = tmp_path / "block.cpp"
    source.write_text(whole_program(block.text))
    flags = pkg_config(installed_library, "--cflags")
    run("g++", "-std=c++20", *STRICT, "-Wno-unused", "-fsyntax-only", *flags, source)


@of("c")
def test_a_c_block_compiles_and_links(
    block: Block, installed_library: Path, tmp_path: Path
) -> None:
    source = tmp_path / "block.c"
    source.write_text(block.text)
    compile_with_pkg_config(source, tmp_path / "block", installed_library)


@of("cmake")
def test_a_cmake_block_builds_an_engine(
    block: Block, installed_library: Path, tmp_path: Path
) -> None:
    (tmp_path / "my_engine.cpp").write_text(ENGINE)
    (tmp_path / "CMakeLists.txt").write_text(PROJECT + block.text)
    build_with_cmake(tmp_path, tmp_path / "build", installed_library)
