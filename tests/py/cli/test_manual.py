"""The manual page says what the help says."""

from __future__ import annotations

from pathlib import Path

from tokenrelay.cli.app import COMMANDS
from tokenrelay.cli.manual import manual

PAGE = Path(__file__).parents[3] / "docs" / "tokenrelay.1"


def test_the_page_is_up_to_date() -> None:
    remake = "python -m tokenrelay.cli.manual > docs/tokenrelay.1"
    assert PAGE.read_text() == manual(), remake


def test_the_page_has_every_command_with_its_example() -> None:
    page = PAGE.read_text()
    for command in COMMANDS:
        section = page.partition(f".SS tokenrelay {command}")[2].partition(".SS")[0]
        assert f"  tokenrelay {command}" in section.partition("Example:")[2]
