from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenrelay.sender.warnings import describe, last_weekly, plan_warnings

NEW_YORK = ZoneInfo("America/New_York")
DAY, WEEK = 86400, 7 * 86400


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp()


def plan(end: str, granted: str | None, *weekly: str, before: tuple[float, ...] = ()):
    return plan_warnings(
        at(end),
        granted_at=None if granted is None else at(granted),
        before=before,
        weekly=weekly,
        zone=NEW_YORK,
    )


def test_each_span_before_the_end_is_a_moment_to_warn() -> None:
    made = plan("2026-11-11 12:00", "2026-11-04 12:00", before=(DAY, 7200))
    assert made.moments == (at("2026-11-10 12:00"), at("2026-11-11 10:00"))
    assert made.due(at("2026-11-10 11:59")) is None
    assert made.due(at("2026-11-10 12:00")) == made.moments[0]
    assert made.due(at("2026-11-11 11:00")) == made.moments[1]


def test_a_login_of_wednesday_is_renewed_on_the_sunday_before_it_ends() -> None:
    made = plan("2026-11-11 12:00", "2026-11-04 12:00", "Sun 18:00")
    assert made.moments == (at("2026-11-08 18:00"),)


def test_a_login_that_lasts_until_the_next_such_time_exactly_is_warned_of_then_only() -> None:
    made = plan("2026-11-15 18:00", "2026-11-08 18:00", "Sun 18:00")
    assert made.moments == (at("2026-11-15 18:00"),)


def test_the_weekly_time_is_that_of_the_wall_clock_where_summer_time_ends() -> None:
    # The clocks go back on Sunday, 1 November 2026, at 2:00.
    assert last_weekly("Sun 18:00", at("2026-11-01 12:00"), NEW_YORK) == at("2026-10-25 18:00")
    assert last_weekly("Sat 18:00", at("2026-11-01 12:00"), NEW_YORK) == at("2026-10-31 18:00")
    assert last_weekly("Sun 12:00", at("2026-11-01 12:00"), NEW_YORK) == at("2026-11-01 12:00")


def test_there_is_no_warning_before_the_login_itself() -> None:
    made = plan("2026-11-05 12:00", "2026-11-05 00:00", "Sun 18:00", before=(DAY, 7200))
    assert made.moments == (at("2026-11-05 10:00"),)


def test_without_a_known_login_time_all_moments_count() -> None:
    assert len(plan("2026-11-05 12:00", None, "Sun 18:00", before=(DAY,)).moments) == 2


@given(st.integers(10**9, 4 * 10**9), st.sampled_from(["Mon 00:00", "Wed 12:30", "Sun 23:59"]))
def test_the_weekly_time_found_is_always_the_last_before_the_end(end: int, text: str) -> None:
    found = last_weekly(text, end, NEW_YORK)
    local = datetime.fromtimestamp(found, NEW_YORK)
    assert end - WEEK - 7200 < found <= end
    assert (local.strftime("%a"), local.strftime("%H:%M")) == tuple(text.split())


@pytest.mark.parametrize(
    ("now", "words"),
    [
        ("2026-11-10 11:00", None),
        ("2026-11-10 13:00", "the login ends on"),
        ("2026-11-11 13:00", "the login ended on"),
    ],
)
def test_the_text_names_the_end_and_the_command(now: str, words: str | None) -> None:
    text = describe("main", plan("2026-11-11 12:00", None, before=(DAY,)), at(now))
    if words is None:
        assert text is None
    else:
        assert text is not None
        assert words in text
        assert text.endswith("tokenrelay login main")
