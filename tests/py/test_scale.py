"""Many accounts in one sender, in the small; the full form is ``python -m tests.scale``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from scale.run import Load, run

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.timeout(300)
def test_no_account_suffers_from_a_failing_provider(measured: Callable[[str], None]) -> None:
    """One request in ten fails, and one account in fifty has a provider that never answers."""
    outcome = run(Load(30, programs=2, seconds=40, life=20, timeout=0.5, fail=0.1))
    measured(str(outcome))
    assert outcome.load.dead
    assert outcome.seen["requests to the dead port"] > 0
    assert outcome.seen["granted"] >= 30
    assert outcome.sound, outcome
