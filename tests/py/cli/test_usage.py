"""Help, usage errors and the start of the command line."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from support.host import write_private
from support.programs import TOKENRELAY
from tokenrelay.cli.app import COMMANDS

if TYPE_CHECKING:
    from pathlib import Path

    from support.command import Run
    from support.host import Host

BLOCK_TYPER = """
import sys
sys.modules["typer"] = None
sys.argv = ["tokenrelay"]
from tokenrelay.__main__ import main
sys.exit(main())
"""

WITHOUT_USER_DATABASE = """
import pwd, sys
pwd.getpwuid = {}.__getitem__
from tokenrelay.cli.app import run
sys.exit(run())
"""


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(run: Run, command: str) -> None:
    text = run(command, "--help").stdout
    assert f"  tokenrelay {command}" in text.partition("Example:")[2]


def test_help_names_every_command_and_the_exit_codes(run: Run) -> None:
    text = run("--help").stdout
    assert all(f"\n  {command} " in text for command in COMMANDS)
    assert "nobody received" in text


def test_a_bare_command_is_help_and_says_what_comes_next(run: Run, host: Host) -> None:
    assert run().stdout.endswith("\nNext: tokenrelay init\n")
    host.config.touch()
    assert run().stdout.endswith("\nNext: tokenrelay status\n")


def run_without_home(host: Host, *command: str, **variables: str) -> tuple[int, str]:
    """The exit code and what it complains of, in a folder that has a configuration at ~."""
    folder = host.root / "~/.config/tokenrelay"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenrelay.toml").touch(mode=0o600)
    environment = {**host.environment, **variables}
    for name in {"HOME", "TOKENRELAY_CONFIG", "TOKENRELAY_STATE_DIR"}.difference(variables):
        del environment[name]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_USER_DATABASE, *command], cwd=host.root, env=environment,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr


@pytest.mark.parametrize("command", ["status", "login", "init", "doctor"])
def test_without_a_home_the_current_folder_is_not_used(host: Host, command: str) -> None:
    assert run_without_home(host, command) == (
        3,
        "tokenrelay: no home directory: set HOME, or TOKENRELAY_CONFIG and TOKENRELAY_STATE_DIR\n",
    )


def test_without_a_home_a_file_that_needs_none_will_do(host: Host) -> None:
    config = str(host.config)
    code, said = run_without_home(host, "--config", config, "status")
    assert (code, said) == (
        3, f"tokenrelay: {config}: no such file; write one: tokenrelay --config {config} init\n"
    )  # fmt: skip
    write_private(host.config, '[accounts.a]\ntoken_url = "https://localhost"\nclient_id = "c"\n')
    code, said = run_without_home(host, "status", TOKENRELAY_CONFIG=config)
    assert code == 3
    assert f"{config}:1: accounts.a.token_file: no home directory: set HOME" in said
    state = str(host.state)
    code, said = run_without_home(
        host, "status", TOKENRELAY_CONFIG=config, TOKENRELAY_STATE_DIR=state
    )
    assert (code, said) == (0, "")


def test_without_a_home_what_needs_no_configuration_goes_on(host: Host) -> None:
    assert run_without_home(host, "send", "test_token")[0] == 5


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_completion_for_each_shell(host: Host, shell: str) -> None:
    done = subprocess.run(
        TOKENRELAY, env={**host.environment, "_TOKENRELAY_COMPLETE": f"source_{shell}"},
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert f"_TOKENRELAY_COMPLETE=complete_{shell}" in done.stdout, done.stderr


def test_bash_completes_a_command_and_an_option(host: Host) -> None:
    def complete(words: str, number: int) -> list[str]:
        environment = {
            **host.environment,
            "_TOKENRELAY_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(number),
        }
        done = subprocess.run(
            TOKENRELAY, env=environment, capture_output=True, text=True, timeout=30, check=False
        )
        return done.stdout.split()

    assert complete("tokenrelay st", 1) == ["status"]
    assert complete("tokenrelay status --w", 2) == ["--watch"]


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["send"], ["show", "--nonsense"], ["show", "Not An Account"], ["demo", "9"]],
)
def test_wrong_usage_ends_with_two(run: Run, arguments: list[str]) -> None:
    wrong = run(*arguments, succeed=False)
    assert wrong.returncode == 2
    assert wrong.stdout == ""


@pytest.mark.parametrize("command", ["run", "refresh", "show", "status"])
def test_a_missing_configuration_ends_with_three_and_names_the_cure(run: Run, command: str) -> None:
    missing = run(command, succeed=False)
    assert missing.returncode == 3
    assert missing.stderr.startswith("tokenrelay: ")
    assert "tokenrelay init" in missing.stderr


def test_the_configuration_may_be_named_before_and_after_the_command(
    run: Run, short_path: Path
) -> None:
    path = short_path / "other.toml"
    for arguments in (["--config", str(path), "show"], ["show", "--config", str(path)]):
        assert str(path) in run(*arguments, succeed=False).stderr


def test_without_the_extra_the_command_says_what_to_install() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BLOCK_TYPER],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert "pip install 'tokenrelay[sender]'" in done.stderr


def test_help_into_a_closed_pipe_is_quiet(host: Host) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m tokenrelay --help | true"],
        env=host.environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stderr == ""
