from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sender_support import FakeClock

from tokenrelay.sender import journal
from tokenrelay.sender.journal import Intent, Pause

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def _without_boot_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "BOOT_ID", tmp_path / "none")


@pytest.mark.usefixtures("_without_boot_id")
def test_without_a_boot_id_only_the_wall_clock_tells_what_has_passed() -> None:
    """The machine may have been started anew: then its time since boot began again."""
    clock = FakeClock()
    moment = (clock.wall(), clock.boot(), journal.current_boot_id())
    intent, pause = Intent("mark", *moment), Pause(30.0, *moment)
    clock.wall_now += 20
    clock.boot_now = 5.0
    assert moment[2] == ""
    assert (intent.age(clock), pause.left(clock)) == (20.0, 10.0)


def test_in_the_same_boot_a_wall_clock_that_is_set_changes_nothing() -> None:
    clock = FakeClock()
    moment = (clock.wall(), clock.boot(), journal.current_boot_id())
    intent, pause = Intent("mark", *moment), Pause(30.0, *moment)
    clock.wall_now += 3600
    clock.boot_now += 20
    assert (intent.age(clock), pause.left(clock)) == (20.0, 10.0)
