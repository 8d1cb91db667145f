"""Every link of a document leads to a file and a heading, as a code host shows them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from support.documents import PAGES, REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
CODE = re.compile(r"^```.*?^```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
DOCUMENTS = [
    *PAGES,
    REPOSITORY / "CHANGELOG.md",
    *sorted(REPOSITORY.glob("bench/**/README.md")),
    *sorted(REPOSITORY.glob("tests/**/README.md")),
]


def links_of(document: Path) -> list[str]:
    found = LINK.findall(CODE.sub("", document.read_text()))
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def anchors_of(document: Path) -> set[str]:
    text = re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    return {anchor(heading) for heading in HEADING.findall(text)}


def anchor(heading: str) -> str:
    """The anchor that a code host gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda one: str(one.relative_to(REPOSITORY)))
def test_links_lead_somewhere(document: Path) -> None:
    for link in links_of(document):
        path, _, heading = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), f"{link}: no such file"
        assert not heading or heading in anchors_of(target), f"{link}: no such heading"


def test_the_front_page_links_to_every_page_a_reader_begins_with() -> None:
    links = links_of(REPOSITORY / "README.md")
    assert {"docs/index.md", "docs/schwab.md", "docs/faq.md", "docs/api.md", "docs/cli.md"} <= {
        *links
    }
