"""What a reader copies from the documents: configurations load and commands exist."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
from markdown_code import Block, read_blocks
from pages import PAGES, REPOSITORY, blocks

from tokenrelay.cli.app import app
from tokenrelay.paths import Environment
from tokenrelay.sender.config import load_config

ACCOUNT = """\
[accounts.schwab]
provider = "schwab"
client_id = "key"
client_secret = "secret"
"""
OPERATORS = frozenset("|&;()<>")


def of(*languages: str) -> pytest.MarkDecorator:
    found = [
        pytest.param(block, id=place)
        for place, block in blocks(*languages).items()
        if block.by is None
    ]
    assert found
    return pytest.mark.parametrize("block", found)


@of("toml")
def test_a_configuration_loads(block: Block, short_path: Path) -> None:
    for name in re.findall(
        r'client_secret_file = "(?:~|\$CREDENTIALS_DIRECTORY)/(.*?)"', block.text
    ):
        secret = short_path / name
        secret.parent.mkdir(parents=True, exist_ok=True)
        secret.touch(mode=0o600)
        secret.write_text("secret")
    path = short_path / "tokenrelay.toml"
    path.touch(mode=0o600)
    path.write_text(_whole_configuration(block.text))
    variables = {"CREDENTIALS_DIRECTORY": str(short_path)}
    load_config(path, Environment(variables, 1000, short_path, Path.is_dir))


def _whole_configuration(text: str) -> str:
    if "client_id" in text:
        return text
    account = ACCOUNT
    if "client_secret_file" in text:
        account = account.replace('client_secret = "secret"\n', "")
    return account + text.replace("[accounts.schwab]\n", "")


@of("json")
def test_json_is_json(block: Block) -> None:
    json.loads(block.text)


def _shell_lines(block: Block) -> str:
    """What is typed of a block: in a console, the lines behind the prompt."""
    if block.language == "sh":
        return block.text
    return "".join(
        line[2:] for line in block.text.splitlines(keepends=True) if line.startswith("$ ")
    )


@of("sh", "console")
def test_a_shell_block_parses_and_its_commands_exist(block: Block) -> None:
    text = _shell_lines(block)
    assert text
    subprocess.run(["bash", "-n"], input=text, text=True, check=True, timeout=30)
    for line in text.replace("\\\n", " ").splitlines():
        _check_commands(line)


@pytest.mark.parametrize("page", PAGES, ids=lambda one: one.name)
def test_the_commands_in_the_text_exist(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for command in re.findall(r"`(tokenrelay [^`]+)`", prose):
        # A command may be named without what it needs, but none that there is not.
        with contextlib.suppress(typer.BadParameter):
            assert _check_commands(command.replace("\n", " "))


def _check_commands(line: str) -> int:
    """Parse each call of tokenrelay in a line as the command itself would; return how many."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words, count = [*(word for word in lexer if word != "[OPTIONS]"), ";"], 0
    while words:
        end = next(at for at, word in enumerate(words) if set(word) <= OPERATORS)
        simple, words = words[:end], words[end + 1 :]
        while simple and re.fullmatch(r"\w+=\S*|exec|\$", simple[0]):
            simple.pop(0)
        if simple and simple[0].rpartition("/")[2] == "tokenrelay":
            _parse([word.strip("[]").lower() for word in simple[1:]])
            count += 1
    return count


def _parse(words: list[str]) -> None:
    """Fails where the command line would refuse the words; runs nothing."""
    command: Any = typer.main.get_group(app)
    context, name = None, "tokenrelay"
    while hasattr(command, "commands"):
        context = command.make_context(name, list(words), parent=context)
        name, command, words = command.resolve_command(context, _rest(context))
    command.make_context(name, list(words), parent=context)


def _rest(context: Any) -> list[str]:
    return [*getattr(context, "_protected_args", []), *context.args]


def test_a_command_that_is_not_there_is_noticed() -> None:
    for wrong in ("tokenrelay nonsense", "a | tokenrelay show --nonsense", "x=1 tokenrelay send"):
        with pytest.raises(Exception, match=r"(?i)no such|missing"):
            _check_commands(wrong)


@pytest.mark.parametrize("page", PAGES, ids=lambda one: one.name)
def test_what_another_test_runs_has_that_test(page: Path) -> None:
    for block in read_blocks(page):
        assert block.by is None or (REPOSITORY / block.by).is_file(), f"{page.name}:{block.line}"
