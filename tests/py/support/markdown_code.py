"""The code of a Markdown page, block by block. As a program it prints one block:

    markdown_code.py PAGE TEXT      the only one of the page that has TEXT in it

Each fenced block is a program of its own. A comment above it, which no reader sees, says more:

    <!-- run: after -->         goes on where the block before ends
    <!-- run: until=TEXT -->    has no end: is interrupted once it has printed TEXT; several
                                texts, one after the other, are parted by ", "
    <!-- run: by=FILE -->       another test runs it than its language's
    <!-- run: not=REASON -->    nothing can run it, for this reason
"""

from __future__ import annotations

import re
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(
    r"^(?:[ ]*<!--\s*run:\s*(?P<mark>.*?)\s*-->\n)?"
    r"^(?P<indent>[ ]*)(?P<fence>`{3,}|~{3,})(?P<language>[^\s`]*)[^\n`]*\n"
    r"(?P<text>.*?)^(?P=indent)(?P=fence)[ ]*$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block; ``line`` is that of its fence."""

    line: int
    language: str
    text: str
    after: bool = False
    until: tuple[str, ...] = ()
    by: str | None = None
    reason: str | None = None

    @property
    def commands(self) -> str:
        """What is typed of a shell block: without the prompts of a console."""
        return re.sub(r"^\$ ", "", self.text, flags=re.MULTILINE)


def read_blocks(page: Path) -> list[Block]:
    """Every fenced block of the page."""
    text = page.read_text()
    return [_block(match, text) for match in FENCE.finditer(text)]


def programs(blocks: list[Block]) -> list[Block]:
    """The blocks, each joined with those that go on from it."""
    joined: list[Block] = []
    for block in blocks:
        if block.after:
            before = joined.pop()
            text = before.text + "\n" + block.text
            joined.append(Block(before.line, block.language, text, until=block.until))
        else:
            joined.append(block)
    return joined


def _block(match: re.Match[str], page: str) -> Block:
    mark = match["mark"] or ""
    key, _, value = mark.partition("=")
    if key not in ("", "after", "until", "by", "not"):
        raise ValueError(f"an unknown mark: {mark}")
    return Block(
        line=page.count("\n", 0, match.start("language")) + 1,
        language=match["language"],
        text=textwrap.dedent(match["text"]),
        after=key == "after",
        until=tuple(value.split(", ")) if key == "until" else (),
        by=value if key == "by" else None,
        reason=value if key == "not" else None,
    )


if __name__ == "__main__":
    (found,) = (one for one in read_blocks(Path(sys.argv[1])) if sys.argv[2] in one.text)
    print(found.commands, end="")
