"""What imports what: the receiver half stands alone, and the C++ library knows no Python."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from receiver_support import run_python

import tokenrelay

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(tokenrelay.__file__).parent
REPOSITORY = Path(__file__).parents[3]
LIBRARY = REPOSITORY / "src" / "cpp" / "tokenrelay"
RECEIVER_HALF = sorted(
    path for path in PACKAGE.glob("*.py") if path.name not in {"__main__.py", "demo.py"}
)
SENDER_HALF = sorted((PACKAGE / "sender").rglob("*.py"))
ADAPTERS = {"httpx", "httpx2", "requests", "aiohttp", "grpc"}
SENDERS_LIBRARIES = {"httpx", "httpx2", "authlib", "anyio", "typer", "rich", "msgspec", "structlog"}


def imported_modules(path: Path) -> Iterator[str]:
    """The full names of what a module of the package imports, wherever in it."""
    package = ("tokenrelay", *path.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def below(modules: Iterator[str], *packages: str) -> list[str]:
    return [
        name for name in modules for package in packages if f"{name}.".startswith(f"{package}.")
    ]


def loaded_by(statement: str) -> set[str]:
    done = run_python(f"import sys\n{statement}\nprint(*sys.modules)")
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_import_tokenrelay_loads_nothing_but_the_standard_library() -> None:
    loaded = loaded_by("import tokenrelay; tokenrelay.TokenReceiver")
    assert "tokenrelay.receiver" in loaded
    assert not {name.split(".")[0] for name in loaded} & (SENDERS_LIBRARIES | ADAPTERS)
    assert not {name for name in loaded if re.match(r"tokenrelay\.(sender|cli|demo)", name)}


@pytest.mark.parametrize("adapter", sorted(ADAPTERS))
def test_an_adapter_loads_its_own_library_only(adapter: str) -> None:
    loaded = loaded_by(f"import tokenrelay.{adapter}")
    assert loaded & ADAPTERS == {adapter}
    assert not {name for name in loaded if re.match(r"tokenrelay\.(sender|cli|demo)", name)}


@pytest.mark.parametrize("path", RECEIVER_HALF, ids=lambda path: path.stem)
def test_the_receiver_half_never_imports_the_sender_half(path: Path) -> None:
    assert below(imported_modules(path), "tokenrelay.sender", "tokenrelay.cli") == []


@pytest.mark.parametrize("path", SENDER_HALF, ids=lambda path: path.stem)
def test_the_sender_half_never_imports_the_command_line(path: Path) -> None:
    assert below(imported_modules(path), "tokenrelay.cli", "typer", "rich") == []


@pytest.mark.sources
def test_the_cpp_library_includes_no_python() -> None:
    sources = [path for path in LIBRARY.rglob("*") if path.suffix in {".hpp", ".cpp"}]
    assert sources
    pattern = re.compile(r"#\s*include\s*[<\"](Python\.h|nanobind|pybind)|\bPyObject\b")
    assert [path.name for path in sources if pattern.search(path.read_text())] == []


def test_everything_promised_is_exported() -> None:
    for name in tokenrelay.__all__:
        assert getattr(tokenrelay, name).__name__ == name
    with pytest.raises(AttributeError):
        tokenrelay.nothing_of_the_kind  # noqa: B018
