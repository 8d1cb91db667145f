"""The code of a Markdown page as programs.

Each fenced block is a program of its own. A comment above it, which no reader sees, says more:

    <!-- run -->                a shell block that is run (Python is run anyway)
    <!-- run: after -->         goes on where the block before ends
    <!-- run: until=TEXT -->    has no end: is interrupted once it has printed TEXT; several
                                texts, one after the other, are parted by ", "
    <!-- run: by=FILE -->       another test runs it
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

FENCE = re.compile(
    r"^(?:(?P<margin>[ ]*)<!--\s*run(?::\s*(?P<mark>.*?))?\s*-->\n)?"
    r"^(?P<indent>[ ]*)```(?P<language>[\w+-]+)[^\n]*\n(?P<text>.*?)^(?P=indent)```[ ]*$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block. ``marked``: there is a comment above it."""

    line: int
    language: str
    text: str
    marked: bool
    after: bool = False
    until: tuple[str, ...] = ()
    by: str | None = None


def read_blocks(page: Path) -> list[Block]:
    """Every fenced block of the page that names a language."""
    text = page.read_text()
    return [_block(match, text) for match in FENCE.finditer(text)]


def programs(blocks: list[Block], language: str) -> list[Block]:
    """The blocks that run here, each joined with those that go on from it."""
    joined: list[Block] = []
    for block in blocks:
        if block.language != language or block.by is not None:
            continue
        if block.after:
            before = joined.pop()
            text = before.text + "\n" + block.text
            joined.append(Block(before.line, language, text, before.marked, until=block.until))
        else:
            joined.append(block)
    return joined


def _block(match: re.Match[str], page: str) -> Block:
    mark = match["mark"] or ""
    key, _, value = mark.partition("=")
    if key not in ("", "after", "until", "by"):
        raise ValueError(f"an unknown mark: {mark}")
    return Block(
        line=page.count("\n", 0, match.start("language")) + 1,
        language=match["language"],
        text=textwrap.dedent(match["text"]),
        marked=match["margin"] is not None,
        after=key == "after",
        until=tuple(value.split(", ")) if key == "until" else (),
        by=value if key == "by" else None,
    )
