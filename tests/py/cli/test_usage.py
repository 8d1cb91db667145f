"""Help, usage errors and the start of the command line."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

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
