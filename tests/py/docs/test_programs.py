"""Every program of the documents runs, against a real sender and an API that refuses bad tokens."""

from __future__ import annotations

import sys
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest
from program_ends import end

from support.documents import blocks_of
from support.markdown_code import Block, programs
from support.stand_ins import localized

if TYPE_CHECKING:
    from pathlib import Path

    from support.host import Host
    from support.programs import Start
    from support.strict import StrictApi

PAGES: defaultdict[str, list[Block]] = defaultdict(list)
for place, one in blocks_of(__file__).items():
    PAGES[place.partition(":")[0]].append(one)


@pytest.mark.parametrize("page", PAGES)
def test_every_program_of_a_document_runs(
    page: str, api: StrictApi, fed_host: Host, start: Start, tmp_path: Path
) -> None:
    for block in programs(PAGES[page]):
        file = tmp_path / f"line_{block.line}.py"
        file.write_text(localized(block.text, api))
        command = (sys.executable, "-W", "ignore::DeprecationWarning", file)
        end(start(*command, environment=fed_host.environment), block.until)
    assert api.report()["refused"] == 0
