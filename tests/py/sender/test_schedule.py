from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sender_support import NOW

from tokenrelay.sender import schedule
from tokenrelay.sender.schedule import Instant, RequestPace

chances = st.floats(0, 1, exclude_max=True)
lifetimes = st.floats(1, 86_400)


def lease_at(now: Instant, **changes: float | None) -> schedule.Lease:
    values: dict[str, float | None] = {
        "expires_at": NOW + 1800, "issued_at": NOW, "default_lifetime": 1800.0,
        "refresh_every": None, "chance": 0.0, **changes,
    }  # fmt: skip
    return schedule.lease(now, **values)  # type: ignore[arg-type]


def test_schwab_token_is_refreshed_at_25_of_30_minutes_less_jitter() -> None:
    assert schedule.refresh_age(1800, None, 0.0) == 1500
    assert 1470 <= schedule.refresh_age(1800, None, 0.999) < 1500


@given(lifetimes, st.none() | st.floats(0.001, 1e9), chances)
def test_refresh_always_comes_before_the_end(
    lifetime: float, every: float | None, chance: float
) -> None:
    assert 0 < schedule.refresh_age(lifetime, every, chance) <= lifetime * 0.95


def test_stored_token_is_due_at_its_age() -> None:
    half = Instant(NOW + 900, 50.0)
    lease = lease_at(half)
    assert (lease.left(half), lease.until_due(half)) == (900, 600)


def test_token_without_issue_time_counts_from_its_end() -> None:
    now = Instant(NOW + 900, 50.0)
    assert lease_at(now, issued_at=None).until_due(now) == 600


def test_token_issued_in_the_future_is_due_and_lives_no_longer_than_its_life() -> None:
    before = Instant(NOW - 86_400, 50.0)
    lease = lease_at(before)
    assert lease.until_due(before) == 0
    assert lease.left(before) == 1800


@given(st.lists(st.tuples(st.floats(0, 600), st.floats(-1e9, 1e9)), max_size=20))
def test_no_clock_step_makes_a_token_younger(steps: list[tuple[float, float]]) -> None:
    """Time passes and the wall clock jumps: what is left never exceeds the real rest."""
    start = Instant(NOW, 1000.0)
    lease, wall, boot = lease_at(start), float(NOW), 1000.0
    for passed, jump in steps:
        boot += passed
        wall += passed + jump
        now = Instant(wall, boot)
        assert lease.left(now) <= 1800 - (boot - 1000.0) + 1e-6
        assert lease.until_due(now) <= 1500 - (boot - 1000.0) + 1e-6


def test_suspend_and_a_forward_step_make_it_due_at_once() -> None:
    lease = lease_at(Instant(NOW, 1000.0))
    assert lease.until_due(Instant(NOW, 1000.0 + 8 * 3600)) <= 0
    assert lease.until_due(Instant(NOW + 10 * 365 * 86400, 1001.0)) <= 0


@given(st.floats(-1e12, 1e12))
def test_no_sleep_is_longer_than_30_s(seconds: float) -> None:
    assert 0 <= schedule.sleep_for(seconds) <= 30


@given(st.integers(1, 10**6), chances)
def test_backoff_doubles_from_1_to_60_s_with_jitter(failures: int, chance: float) -> None:
    base = min(60.0, 2.0 ** min(failures - 1, 10))
    assert 0.8 * base <= schedule.backoff(failures, chance) <= 1.2 * base


@pytest.mark.parametrize(
    ("grace", "times"),
    [(0, []), (0.1, [0]), (1, [0, 0.2, 0.6]), (10, [0, 0.2, 0.6, 1.4, 3, 6, 9]),
     (300, [0, 0.2, 0.6, 1.4, 3, 6, 9])],
)  # fmt: skip
def test_burst_stays_within_the_grace(grace: float, times: list[float]) -> None:
    total, seen = 0.0, []
    for delay in schedule.burst_delays(grace):
        total += delay
        seen.append(round(total, 6))
    assert seen == times


@pytest.mark.parametrize(
    ("timeout", "grace_left", "seconds"),
    [
        (8, None, 8),
        (8, 10, 5),
        (8, 20, 8),
        (1, 10, 1),
        (8, 4, 2),
        (8, 3.9, 8),
        (8, 0, 8),
        (8, -1, 8),
    ],
)
def test_a_retry_takes_half_of_the_grace_that_is_left_while_another_fits_into_the_rest(
    timeout: float, grace_left: float | None, seconds: float
) -> None:
    assert schedule.deadline(timeout, grace_left) == seconds


def test_budget_is_10_in_10_minutes_and_30_an_hour() -> None:
    ten = [NOW + 10.0 * i for i in range(10)]
    assert schedule.budget_wait(ten, NOW + 100, 1500) == 500
    thirty = [NOW + 100.0 * i for i in range(30)]
    assert schedule.budget_wait(thirty, NOW + 3000, 1500) == 600


def test_the_second_half_of_the_budget_is_spread_over_the_time() -> None:
    ten = [NOW + 10.0 * i for i in range(10)]
    assert schedule.budget_wait(ten[:5], NOW + 50, 1500) == 0
    assert schedule.budget_wait(ten[:6], NOW + 50, 1500) == 550 / 5
    assert schedule.budget_wait(ten[:9], NOW + 100, 1500) == 520 / 2 - 20


def test_budget_of_short_tokens_is_twice_what_their_life_demands() -> None:
    often = [NOW + 8.0 * i for i in range(75)]
    assert schedule.budget_wait(often, NOW + 600, 8) == 0


@given(st.lists(st.floats(NOW - 7200, NOW + 7200), max_size=60), st.floats(1, 80_000))
def test_budget_is_never_exceeded_after_the_wait(requests: list[float], age: float) -> None:
    now, past = NOW, [at for at in requests if at <= NOW]
    while (wait := schedule.budget_wait(past, now, age)) > 0:
        assert wait <= 3600
        now += wait + 0.001
    assert now <= NOW + 3601
    for span, count in schedule.BUDGETS:
        recent = [at for at in past if now - span < at <= now]
        assert len(recent) < max(count, 2 * span / max(age, 1.0))


def test_whoever_fails_for_an_hour_is_asked_every_few_minutes_at_least() -> None:
    requests, now = [NOW], NOW
    for failures in range(1, 60):
        now += max(schedule.backoff(failures, 0.5), 1.0)
        while wait := schedule.budget_wait(requests, now, 1500):
            now += wait
        requests.append(now)
    gaps = [after - before for before, after in pairwise(requests)]
    assert max(gaps) < 240
    assert sum(NOW <= at < NOW + 3600 for at in requests) <= 30


def test_receivers_cause_one_refresh_a_minute_then_fewer() -> None:
    pace, now, waits = RequestPace(), 0.0, []
    for _ in range(7):
        assert pace.wait(now) == 0
        pace = pace.followed(now)
        waits.append(pace.wait(now))
        now += waits[-1]
    assert waits == [60, 120, 240, 480, 960, 1800, 1800]
    calm = pace.followed(now + 7200)
    assert calm.wait(now + 7200) == 60
