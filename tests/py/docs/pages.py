"""The documents, and where their blocks stand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from markdown_code import read_blocks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from markdown_code import Block

REPOSITORY = Path(__file__).parents[3]
DOCS = REPOSITORY / "docs"
# The front page and every page of the site.
PAGES = (REPOSITORY / "README.md", *sorted(DOCS.rglob("*.md")))


def blocks(*languages: str, of: Iterable[Path] = PAGES) -> dict[str, Block]:
    """Return the blocks of these languages by "PAGE:LINE"."""
    return {
        f"{page.relative_to(REPOSITORY)}:{block.line}": block
        for page in of
        for block in read_blocks(page)
        if block.language in languages
    }
