"""Every command that the documents name in their text exists, with its options."""

from __future__ import annotations

import contextlib
import re
import shlex
from typing import TYPE_CHECKING, Any

import pytest
import typer

from support.documents import PAGES
from tokenrelay.cli.app import app

if TYPE_CHECKING:
    from pathlib import Path

OPERATORS = frozenset("|&;()<>")


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
