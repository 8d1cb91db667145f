"""What `cmake --install` leaves: its symbols, its needs, its headers, its metadata."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import pytest

from support.cpp_package import REPOSITORY, pkg_config, run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(600)

C_FUNCTION = re.compile(r"^TOKENRELAY_API .*?(tokenrelay_\w+)\(", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def library(installed_library: Path) -> Path:
    (found,) = (path for path in installed_library.rglob("libtokenrelay.so") if path.is_symlink())
    return found


def exported(library: Path) -> set[str]:
    """The demangled names that a program can link to."""
    lines = run("nm", "-DC", "--defined-only", library).splitlines()
    return {line.split(" ", 2)[2] for line in lines}


def test_the_shared_library_exports_nothing_but_its_interface(library: Path) -> None:
    names = exported(library)
    foreign = {n for n in names if not n.startswith(("tokenrelay::", "tokenrelay_"))}
    assert foreign == set()
    assert not any("simdjson" in name for name in names)
    inner = {"TokenStore", "Listener", "MessageParser", "LineBuffer", "Callbacks", "SecretMemory"}
    assert not any(word in name for name in names for word in inner if "(" in name)


def test_every_function_of_the_c_header_is_exported(library: Path) -> None:
    header = (REPOSITORY / "src/cpp/tokenrelay/tokenrelay.h").read_text()
    declared = set(C_FUNCTION.findall(header))
    assert "tokenrelay_copy" in declared
    assert declared == {n for n in exported(library) if n.startswith("tokenrelay_")}


def test_thread_local_words_are_reached_without_a_call(library: Path) -> None:
    """The loader resolves all of them at once: no call of __tls_get_addr, no dynamic model."""
    relocations = run("readelf", "-rW", library)
    assert "TPOFF" in relocations
    assert "DTPMOD" not in relocations
    assert "__tls_get_addr" not in run("nm", "-D", library)


def test_where_no_room_is_kept_for_thread_local_words_nothing_asks_for_it(tmp_path: Path) -> None:
    """As on musl, which refuses to load such a module."""
    nanobind = run(sys.executable, "-m", "nanobind", "--cmake_dir").strip()
    run(
        *("cmake", "-S", REPOSITORY, "-B", tmp_path, "-DTOKENRELAY_PYTHON=ON"),
        *(f"-DPython_EXECUTABLE={sys.executable}", f"-Dnanobind_DIR={nanobind}"),
        "-DTOKENRELAY_GLIBC=OFF",
    )
    commands = (tmp_path / "compile_commands.json").read_text()
    assert "measure.cpp" in commands
    assert "initial-exec" not in commands


def test_the_shared_library_stays_loaded_and_says_its_version(library: Path) -> None:
    dynamic = run("readelf", "-dW", library)
    assert "NODELETE" in dynamic
    assert "[libtokenrelay.so.0.1]" in dynamic
    assert "python" not in dynamic
    assert "simdjson" not in dynamic


def test_only_the_interface_is_installed(installed_library: Path) -> None:
    headers = {path.name for path in installed_library.rglob("*") if path.suffix in {".h", ".hpp"}}
    assert {"tokenrelay.hpp", "tokenrelay.h", "receiver.hpp", "token.hpp"} <= headers
    assert headers.isdisjoint({"listener.hpp", "store.hpp", "message.hpp", "socket.hpp"})
    texts = [path.read_text() for path in installed_library.rglob("*.h*") if path.is_file()]
    assert not any(
        "Python.h" in text or "nanobind" in text or "simdjson.h" in text for text in texts
    )


def test_pkg_config_names_the_needs_of_the_archive_only_with_static(
    installed_library: Path,
) -> None:
    assert "-ltokenrelay" in pkg_config(installed_library, "--libs")
    assert "-lstdc++" not in pkg_config(installed_library, "--libs")
    assert "-lstdc++" in pkg_config(installed_library, "--static", "--libs")
    # The language is the program's choice: a flag here would override its own.
    assert not any(word.startswith("-std") for word in pkg_config(installed_library, "--cflags"))
