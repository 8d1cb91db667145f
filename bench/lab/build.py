"""Configures and builds the C++ programs, only what changed."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).resolve().parent.parent
BUILD = BENCH / ".build"


class BuildError(Exception):
    """CMake is missing or said no; the text holds its last words."""


def tool(name: str) -> str:
    """The tool beside this interpreter (as PyPI installs it) or on the PATH, or ""."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name) or ""


def run(*command: str) -> None:
    done = subprocess.run(
        command, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode != 0:
        raise BuildError(f"{command[0]} failed:\n{done.stdout[-4000:]}")


def build(*, python_floor: bool = True) -> Path:
    """The directory of the programs. BuildError."""
    cmake = tool("cmake")
    if not cmake:
        raise BuildError("no cmake: pip install cmake ninja")
    options = ["-S", str(BENCH), "-B", str(BUILD), f"-DPython_EXECUTABLE={sys.executable}"]
    if ninja := tool("ninja"):
        options += ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"]
    has_nanobind = importlib.util.find_spec("nanobind") is not None
    options.append(f"-DBENCH_PYTHON_FLOOR={'ON' if python_floor and has_nanobind else 'OFF'}")
    run(cmake, *options)
    run(cmake, "--build", str(BUILD), "--parallel", "2")
    return BUILD / "bin"
