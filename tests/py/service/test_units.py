"""The units, judged by systemd's own tools."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.command import run_command

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.host import Host

UNIT = "tokenrelay.service"
SCOPES = pytest.mark.parametrize("scope", ["--user", "--system"])
# A user manager cannot give these without mapping uids away or hiding the receivers.
NOT_FOR_USERS = (
    "CapabilityBoundingSet", "DynamicUser", "PrivateDevices", "PrivateMounts", "PrivateTmp",
    "PrivateUsers", "ProtectClock", "ProtectHome", "ProtectKernelLogs", "ProtectKernelModules",
    "ProtectSystem", "User",
)  # fmt: skip


def show(host: Host, scope: str, *arguments: str) -> str:
    options = ["--system"] if scope == "--system" else []
    return run_command(host.environment, "service", "show", *options, *arguments).stdout


def analyze(host: Host, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *map(str, arguments)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(host.root)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def exposure(host: Host, path: Path) -> float:
    done = analyze(host, "security", "--offline=true", path)
    found = re.search(r"Overall exposure level .*: ([\d.]+)", done.stdout)
    assert found is not None, done.stdout + done.stderr
    return float(found[1])


@pytest.mark.parametrize("command", ["show", "install", "uninstall"])
def test_every_command_has_help_with_an_example(host: Host, command: str) -> None:
    text = run_command(host.environment, "service", command, "--help").stdout
    assert f"Example:\n    tokenrelay service {command}" in text


@SCOPES
def test_systemd_finds_nothing_to_complain_of(host: Host, scope: str) -> None:
    path = host.root / UNIT
    path.write_text(show(host, scope, "--credential", "client_secret:/etc/a secret"))
    done = analyze(host, scope, "verify", path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_verifier_would_complain(host: Host) -> None:
    path = host.root / UNIT
    path.write_text(show(host, "--user").replace("UMask=0077", "UMask=999"))
    assert "999" in analyze(host, "--user", "verify", path).stderr


def test_exposure(host: Host, measured: Callable[[str], None]) -> None:
    scores = {}
    for scope in ("--user", "--system"):
        path = host.root / scope / UNIT
        path.parent.mkdir()
        path.write_text(show(host, scope))
        scores[scope] = exposure(host, path)
    assert scores["--system"] <= 1.2
    measured(
        f"system unit {scores['--system']}, user unit {scores['--user']} (0 is best, 10 worst)"
    )


def test_the_user_unit_leaves_the_users_sight_and_uid_alone(host: Host) -> None:
    lines = show(host, "--user").splitlines()
    keys = {line.partition("=")[0] for line in lines}
    assert keys.isdisjoint(NOT_FOR_USERS)


def test_the_unit_looks_where_the_commands_of_this_user_look(host: Host) -> None:
    config = host.root / 'a "b" %h $HOME.toml'
    text = show(host, "--user", "--config", str(config))
    quoted = str(config).replace('"', '\\"').replace("%", "%%")
    assert f'Environment="TOKENRELAY_CONFIG={quoted}"' in text
    assert f"Environment=TOKENRELAY_RUNTIME_DIR={host.runtime}\n" in text
    assert f"Environment=TOKENRELAY_STATE_DIR={host.state}\n" in text
    assert f"ExecStart={sys.executable} -P -m tokenrelay run\n" in text


def test_a_relative_place_is_the_one_that_it_is_here(host: Host) -> None:
    names = ("TOKENRELAY_CONFIG", "TOKENRELAY_RUNTIME_DIR", "TOKENRELAY_STATE_DIR")
    places = {name: f"my/{name}" for name in names}
    text = run_command({**host.environment, **places}, "service", "show").stdout
    for name, place in places.items():
        assert f"Environment={name}={Path.cwd() / place}\n" in text
    empty = {**host.environment, **dict.fromkeys(names, "")}
    unset = run_command(empty, "service", "show").stdout
    assert not re.search(r"^Environment=\W?TOKENRELAY_", unset, re.MULTILINE)


@pytest.mark.parametrize(
    "credential", ["name", "a/b:/c", ":/c", "name:relative", "n:/a\nUser=root"]
)
def test_a_credential_that_is_none_is_refused(host: Host, credential: str) -> None:
    done = run_command(
        host.environment, "service", "show", "--credential", credential, succeed=False
    )
    assert (done.returncode, "NAME:/PATH/OF/FILE" in done.stderr) == (2, True)


def test_a_unit_of_the_users_own_is_left_alone(host: Host) -> None:
    path = host.root / "systemd/user" / UNIT
    path.parent.mkdir(parents=True)
    path.write_text("[Service]\nExecStart=/bin/true\n")
    environment = {**host.environment, "XDG_CONFIG_HOME": str(host.root)}
    for command in ("install", "uninstall"):
        done = run_command(environment, "service", command, succeed=False)
        assert (done.returncode, "was not written by this command" in done.stderr) == (1, True)
    assert path.read_text() == "[Service]\nExecStart=/bin/true\n"


@pytest.fixture
def unmanaged(host: Host) -> dict[str, str]:
    """An environment without a service manager of the user."""
    return {
        **host.environment,
        "XDG_CONFIG_HOME": str(host.root),
        "XDG_RUNTIME_DIR": str(host.root),
        "DBUS_SESSION_BUS_ADDRESS": f"unix:path={host.root}/bus",
    }


def test_without_a_manager_the_unit_is_written_and_not_started(
    host: Host, unmanaged: dict[str, str]
) -> None:
    done = run_command(unmanaged, "service", "install", succeed=False)
    assert done.returncode == 1
    assert "loginctl enable-linger. Then this command again" in done.stderr
    assert (host.root / "systemd/user" / UNIT).exists()


def test_without_a_manager_the_unit_is_removed_with_what_starts_it(
    host: Host, unmanaged: dict[str, str]
) -> None:
    run_command(unmanaged, "service", "install", succeed=False)
    units = host.root / "systemd/user"
    link = units / "default.target.wants" / UNIT
    link.parent.mkdir()
    link.symlink_to(units / UNIT)
    said = run_command(unmanaged, "service", "uninstall").stderr
    assert "nothing was ended. Whether a sender still runs: tokenrelay status\n" in said
    assert f"{units / UNIT}: removed" in said
    assert not link.is_symlink()
    assert not (units / UNIT).exists()
