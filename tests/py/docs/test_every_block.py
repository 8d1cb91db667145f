"""No block of the documents is left out: each is run by a test, or says why nothing can run it."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from support.documents import REPOSITORY, every_block, runner

if TYPE_CHECKING:
    from collections.abc import Callable

BLOCKS = every_block()
CI = ".ci/run"


def test_every_block_is_run_or_says_why_not(measured: Callable[[str], None]) -> None:
    reasons = {place: block.reason for place, block in BLOCKS.items() if block.reason}
    runners = {place: runner(block) for place, block in BLOCKS.items() if place not in reasons}
    assert {place for place, file in runners.items() if file is None} == set()
    counts = Counter(runners.values())
    measured(f"{counts.total()} blocks run, {len(reasons)} are marked as not to be run")
    for file, count in counts.most_common():
        measured(f"{count} by {file}")
    for place, reason in reasons.items():
        measured(f"not {place}: {reason}")


@pytest.mark.parametrize("file", sorted({block.by for block in BLOCKS.values() if block.by} - {CI}))
def test_what_a_mark_names_asks_for_its_blocks(file: str) -> None:
    assert "blocks_of(__file__)" in (REPOSITORY / file).read_text()


def test_ci_runs_what_a_mark_leaves_to_it() -> None:
    calls = re.findall(
        r"^ *(?:\w+=\S+ )*documented (\S+) '(.+)'$", (REPOSITORY / CI).read_text(), re.MULTILINE
    )
    places = [
        place
        for page, text in calls
        for place, block in BLOCKS.items()
        if place.startswith(f"{page}:") and text in block.text
    ]
    assert sorted(places) == sorted(place for place, block in BLOCKS.items() if block.by == CI)
