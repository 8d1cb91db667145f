"""A systemd of our own, a user in it, and tokenrelay installed where every unit can see it.

tests/systemd/run .venv/bin/pytest tests/systemd
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "py"))
sys.path.insert(0, str(Path(__file__).parents[1] / "py" / "sender"))

from sender_support import Provider
from systemd_support import COMMAND, PYTHON, Account

import tokenrelay
from support.programs import Program

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator


def pytest_configure() -> None:
    if "container=namespace" not in Path("/proc/1/environ").read_text().split("\0"):
        pytest.exit("these tests install units: begin with tests/systemd/run", 2)


@pytest.fixture(scope="session", autouse=True)
def installed() -> None:
    """Install in /opt, which ProtectHome= and PrivateTmp= leave in sight."""
    base = Path("/opt/python")
    base.mkdir()
    subprocess.run(["mount", "--rbind", sys.base_prefix, base], check=True)
    if sysconfig.get_config_var("Py_ENABLE_SHARED"):
        # Its library is looked for where it was built, which users may not be able to read.
        Path("/etc/ld.so.conf.d/000-python.conf").write_text(f"{base}/lib\n")
        subprocess.run(["ldconfig"], check=True)
    interpreter = base / "bin" / Path(sys._base_executable).name  # type: ignore[attr-defined]
    root = PYTHON.parents[1]
    subprocess.run([interpreter, "-m", "venv", "--without-pip", root], check=True)
    libraries = Path("/opt/libraries")
    libraries.mkdir()
    subprocess.run(["mount", "--rbind", sysconfig.get_path("purelib"), libraries], check=True)
    (packages,) = root.glob("lib/python3*/site-packages")
    # A directory named in a .pth has no .pth of its own read: no editable install interferes.
    (packages / "libraries.pth").write_text(f"{libraries}\n")
    copy = packages / "tokenrelay"
    shutil.copytree(Path(tokenrelay.__file__).parent, copy)
    shutil.copy(tokenrelay._core.__file__, copy)
    COMMAND.write_text(f'#!/bin/sh\nexec {PYTHON} -P -m tokenrelay "$@"\n')
    COMMAND.chmod(0o755)


@pytest.fixture(scope="session")
def trader(installed: None) -> Account:
    """A user whose service manager runs."""
    subprocess.run(["useradd", "--create-home", "trader"], check=True)
    account = Account.named("trader")
    subprocess.run(["loginctl", "enable-linger", "trader"], check=True)
    subprocess.run(["systemctl", "start", f"user@{account.uid}.service"], check=True)
    return account


@pytest.fixture
def provider() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.close()


@pytest.fixture
def start_as() -> Iterator[Callable[..., Program]]:
    """A function that starts a program of a user's, ended with the test."""
    programs: list[Program] = []

    def start(account: Account, *arguments: str | Path) -> Program:
        program = Program(account.command(*arguments), environment=account.environment)
        programs.append(program)
        return program

    yield start
    for program in reversed(programs):
        program.dispose()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure comes with what the journal says."""
    report = yield
    if report.failed:
        command = ["journalctl", "--no-pager", "--lines=30"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        report.sections.append(("journal", done.stdout))
    return report
