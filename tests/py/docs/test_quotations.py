"""What the documents quote, the program says: to the letter."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
from quotations import PROVOKED, Scene

from support.command import run_command
from support.documents import blocks_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.host import Host
    from support.programs import Start
    from support.provider import StartProvider

QUOTED = [block.text.strip() for block in blocks_of(__file__).values()]


@pytest.fixture
def scene(
    host: Host, start: Start, oauth_toolkit: StartProvider, monkeypatch: pytest.MonkeyPatch
) -> Scene:
    return Scene(host, partial(run_command, host.environment), start, oauth_toolkit, monkeypatch)


@pytest.mark.parametrize("provoke", PROVOKED, ids=lambda one: one.__name__)
def test_the_page_has_the_programs_words(provoke: Callable[[Scene], str], scene: Scene) -> None:
    assert scene.as_written(provoke(scene)) in QUOTED


def test_nothing_is_quoted_that_no_test_provokes() -> None:
    assert len(QUOTED) == len(set(QUOTED)) == len(PROVOKED)
