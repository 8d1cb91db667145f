from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sender_support import NOW, FakeClock, account, stored
from structlog.testing import capture_logs

from tokenrelay.sender.account_watch import AccountWatch
from tokenrelay.sender.logs import get_log
from tokenrelay.sender.outlet import ReceiverState
from tokenrelay.sender.refresher_state import RefresherState

if TYPE_CHECKING:
    from pathlib import Path

HOUR = 3600
WEEK = 7 * 24 * HOUR


class Watched:
    """A watch over a state that the test sets; `look` returns the events and the log."""

    def __init__(self, path: Path) -> None:
        self.clock = FakeClock()
        token = stored(grant_expires_at=NOW + WEEK)
        self.state = RefresherState(token, "ok", None, None, None, 0, 0)
        self.receivers: tuple[ReceiverState, ...] = ()
        self.events: list[str] = []
        self.watch = AccountWatch(
            account(path, None, warn_before_login_ends=(24.0 * HOUR, 2.0 * HOUR)),
            state=lambda: self.state,
            receivers=lambda: self.receivers,
            notify=self.events.append,
            clock=self.clock,
            log=get_log(),
        )

    def set(self, **changes: Any) -> None:
        self.state = replace(self.state, **changes)

    def look(self) -> tuple[list[str], list[Any]]:
        self.events.clear()
        with capture_logs() as lines:
            self.watch.look()
        return list(self.events), list(lines)


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    watched = Watched(tmp_path / "token.json")
    assert watched.look() == ([], [])
    return watched


def test_each_time_before_the_end_is_told_once_with_the_command(watched: Watched) -> None:
    told = []
    for _ in range(7 * 24 + 5):
        watched.clock.advance(HOUR)
        events, lines = watched.look()
        told += [(watched.clock.wall_now - NOW - WEEK) // HOUR for _ in events]
        assert all(line["type"] == "tokenrelay login main" for line in lines)
        assert len(lines) == len(events)
    assert told == [-24, -2, 0]


def test_once_it_is_over_that_is_said_once(watched: Watched) -> None:
    watched.clock.advance(WEEK)
    events, lines = watched.look()
    assert events == ["login_over"]
    assert "the login ended on" in lines[0]["detail"]
    watched.set(phase="login_needed", last_error="spent")
    assert watched.look() == ([], [])


def test_a_login_refused_early_is_over_too(watched: Watched) -> None:
    watched.set(phase="lost_rotation", last_error="the answer was lost", failures=1)
    events, lines = watched.look()
    assert (events, lines[0]["detail"]) == (["login_over"], "the answer was lost")


def test_a_new_login_begins_anew(watched: Watched) -> None:
    watched.clock.advance(WEEK)
    watched.look()
    watched.set(token=stored(1, granted_at=NOW + WEEK, grant_expires_at=NOW + 2 * WEEK))
    assert watched.look() == ([], [])
    assert watched.watch.warning is None
    watched.clock.advance(WEEK - HOUR)
    assert watched.look()[0] == ["login_ends_soon"]
    assert "tokenrelay login main" in (watched.watch.warning or "")


def test_several_times_that_have_passed_meanwhile_are_one_warning(watched: Watched) -> None:
    watched.clock.advance(WEEK - HOUR)
    assert watched.look()[0] == ["login_ends_soon"]
    assert watched.look()[0] == []


def test_a_refresh_is_told_and_one_failure_is_no_news(watched: Watched) -> None:
    watched.set(refreshes=1)
    assert watched.look()[0] == ["token_refreshed"]
    watched.set(phase="retrying", failures=1, last_error="503")
    assert watched.look()[0] == []
    watched.set(failures=2)
    assert watched.look()[0] == ["refresh_failing"]
    watched.set(failures=3)
    assert watched.look()[0] == []
    watched.set(phase="ok", failures=0)
    watched.look()
    watched.set(phase="retrying", failures=2)
    assert watched.look()[0] == ["refresh_failing"]


def test_a_receiver_that_was_connected_and_is_not_is_lost(watched: Watched) -> None:
    one = ReceiverState("/run/a.sock", program="trader", connected=True)
    watched.receivers = (one,)
    assert watched.look()[0] == []
    watched.receivers = (replace(one, connected=False),)
    events, lines = watched.look()
    assert (events, lines[0]["program"]) == (["receiver_lost"], "trader")
    watched.receivers = ()
    assert watched.look()[0] == []
