"""The kernel's timer that ends with a jump; ``tests/machine`` makes the clocks jump."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from tokenrelay.sender.clock_steps import ClockSteps

if TYPE_CHECKING:
    from collections.abc import Iterator


def timers() -> set[str]:
    """The descriptors of this process that are timers."""
    found = set()
    for path in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one that iterdir reads
            if str(path.readlink()) == "anon_inode:[timerfd]":
                found.add(path.name)
    return found


@pytest.fixture
def steps() -> Iterator[ClockSteps]:
    with ClockSteps() as steps:
        yield steps


def test_kernel_ends_the_timer_when_the_wall_clock_is_set() -> None:
    before = timers()
    with ClockSteps():
        (made,) = timers() - before
        text = Path("/proc/self/fdinfo", made).read_text()
    told = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    assert told["clockid"] == "0"  # CLOCK_REALTIME
    assert told["settime flags"] == "03"  # TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET
    assert told["it_value"] != "(0, 0)"  # armed


def test_nothing_is_told_while_no_clock_jumps(steps: ClockSteps) -> None:
    async def wait() -> bool:
        with anyio.move_on_after(0.2):
            await steps.wait()
            return True
        return False

    assert not anyio.run(wait)


def test_no_descriptor_is_left_open() -> None:
    before = timers()
    with ClockSteps():
        assert len(timers()) == len(before) + 1
    assert timers() == before
