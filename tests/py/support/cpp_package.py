"""The C++ package as a distribution installs it, and programs built against it as users do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]
CONSUMERS = REPOSITORY / "tests" / "consumer"
PROGRAMS = ("consumer.cpp", "event_loop.cpp", "c_consumer.c")
STRICT = ("-Wall", "-Wextra", "-Wpedantic", "-Werror")
# CMake and Ninja come from PyPI and lie beside the interpreter that runs the tests.
ENVIRONMENT = {
    **os.environ,
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    "CMAKE_GENERATOR": "Ninja",
}


def run(
    *command: str | Path, environment: dict[str, str] | None = None, folder: Path | None = None
) -> str:
    """Run a tool to its end; its output. Fail with all it said if it failed."""
    done = subprocess.run(
        [str(word) for word in command],
        env=ENVIRONMENT | (environment or {}),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}"
    return done.stdout


def install_library(build: Path, prefix: Path, *options: str) -> None:
    """Build the library and install it under `prefix`."""
    run("cmake", "-S", REPOSITORY, "-B", build, *options)
    run("cmake", "--build", build)
    run("cmake", "--install", build, "--prefix", prefix)


def build_with_cmake(source: Path, build: Path, prefix: Path, *options: str) -> None:
    """Configure and build a project that looks for the package."""
    run("cmake", "-S", source, "-B", build, f"-DCMAKE_PREFIX_PATH={prefix}", *options)
    run("cmake", "--build", build)


def pkg_config(prefix: Path, *options: str) -> list[str]:
    """The words that pkg-config prints for the package."""
    return run("pkg-config", *options, "tokenrelay", environment=places(prefix)).split()


def places(prefix: Path) -> dict[str, str]:
    """Return the variable that lets pkg-config find the package there."""
    (file,) = prefix.rglob("tokenrelay.pc")
    return {"PKG_CONFIG_PATH": str(file.parent)}


def compile_with_pkg_config(
    source: Path, program: Path, prefix: Path, *options: str, static: bool = False
) -> None:
    """One call of the compiler that the source's name asks for."""
    compiler = ("gcc", "-std=c11") if source.suffix == ".c" else ("g++", "-std=c++20")
    if static:
        flags = ["-static", *pkg_config(prefix, "--static", "--cflags", "--libs")]
    else:
        libraries = pkg_config(prefix, "--variable=libdir")
        flags = [*pkg_config(prefix, "--cflags", "--libs"), f"-Wl,-rpath,{libraries[0]}"]
    run(*compiler, *STRICT, *options, source, "-o", program, *flags)
