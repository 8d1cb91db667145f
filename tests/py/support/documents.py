"""The documents, and which test runs each of their blocks.

A test file takes what it has to run with ``blocks_of(__file__)``: whatever has its language here,
or names it in a mark (see markdown_code.py).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.markdown_code import read_blocks

if TYPE_CHECKING:
    from support.markdown_code import Block

REPOSITORY = Path(__file__).parents[3]
DOCS = REPOSITORY / "docs"
# The front pages and every page of the site.
PAGES = (REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md")))

RUNNERS = {
    "c": "tests/py/docs/test_cpp_blocks.py",
    "cmake": "tests/py/docs/test_cpp_blocks.py",
    "console": "tests/py/docs/test_commands.py",
    "cpp": "tests/py/docs/test_cpp_blocks.py",
    "python": "tests/py/docs/test_programs.py",
    "sh": "tests/py/docs/test_commands.py",
    "text": "tests/py/docs/test_quotations.py",
    "toml": "tests/py/docs/test_configurations.py",
    # Of the site; Sphinx builds it, and any warning fails.
    "{eval-rst}": ".ci/run",
    "{include}": ".ci/run",
    "{toctree}": ".ci/run",
}
# What differs from one run to the next, and what may stand in its place.
DIFFERENCES = {
    r"\b[0-9a-f]{8}\b": r"[0-9a-f]{8}",
    r"\d[\d.:]*": r"\d[\d.:]*",
    r"\b(?:µs|ms)\b": "(?:µs|ms|s)",
    r"[█▉-▏]+": "[█▉-▏]+",
    r"━+": "━+",
    r"─+": "─+",
    r"…": ".*",
    r"\s+": r"\s+",
}
DIFFERS = re.compile("|".join(f"({what})" for what in DIFFERENCES))


def runner(block: Block) -> str | None:
    """The file that runs this block; None where there is none."""
    return None if block.reason else block.by or RUNNERS.get(block.language)


def every_block() -> dict[str, Block]:
    """Return the blocks of all documents by "PAGE:LINE"."""
    return {
        f"{page.relative_to(REPOSITORY)}:{block.line}": block
        for page in PAGES
        for block in read_blocks(page)
    }


def blocks_of(file: str | Path) -> dict[str, Block]:
    """Return the blocks that this file has to run, by "PAGE:LINE"."""
    name = str(Path(file).relative_to(REPOSITORY))
    return {place: block for place, block in every_block().items() if runner(block) == name}


def for_each(blocks: dict[str, Block], *languages: str) -> pytest.MarkDecorator:
    """A test's mark: runs it with each ``block`` of these languages, or of all."""
    found = [
        pytest.param(block, id=place)
        for place, block in blocks.items()
        if not languages or block.language in languages
    ]
    assert found, f"no block of {languages}"
    return pytest.mark.parametrize("block", found)


def assert_quoted(block: Block, output: str, *, ordered: bool = True) -> None:
    """Fail unless the block's lines stand in the output, in their order.

    Numbers, fingerprints, units of time, bars and widths of columns may differ; "…" is whatever
    was left out.
    """
    position = 0
    for line in filter(None, map(str.strip, block.text.splitlines())):
        found = re.compile(_pattern(line)).search(output, position)
        assert found, f"not printed, or not there: {line}\n{output}"
        position = found.end() if ordered else 0


def _pattern(line: str) -> str:
    pieces, end = [], 0
    for match in DIFFERS.finditer(line):
        pieces += [
            re.escape(line[end : match.start()]),
            tuple(DIFFERENCES.values())[match.lastindex - 1],
        ]
        end = match.end()
    return "".join([*pieces, re.escape(line[end:])])
