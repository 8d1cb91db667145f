"""Each adapter through rotations and a revocation, with a real sender: no caller sees a refusal."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from adapters_support import OK, Tally

from tokenrelay.sender import control

if TYPE_CHECKING:
    from collections.abc import Callable

    from adapters_support import MakeCalls

    from support.host import Host
    from support.strict import StrictApi
    from tokenrelay import TokenReceiver

AHEAD = 200  # calls during an event; fewer than between two, which so stay apart


def rotate(host: Host) -> None:
    """Have the running sender refresh, as a schedule does."""
    reply = control.call(
        {"command": "refresh", "account": "main"}, timeout=20, directories=(host.runtime,)
    )
    assert reply is not None
    control.checked(reply)


def call_through(
    make_calls: MakeCalls,
    receiver: TokenReceiver,
    api: StrictApi,
    calls: int,
    events: list[Callable[[], None]],
) -> Tally:
    """Make the calls, with the events spread evenly among them."""
    between = calls // (len(events) + 1)
    tally = Tally(limit=between + AHEAD)
    calling = threading.Thread(target=make_calls, args=(receiver, api, calls, tally.add))
    calling.start()
    for number, event in enumerate(events, start=1):
        tally.wait_for(between * number)
        event()  # while the calls go on
        tally.raise_limit(calls if number == len(events) else between)
    calling.join()
    return tally


def test_ten_thousand_calls_over_twenty_rotations_and_a_revocation(
    make_calls: MakeCalls,
    start_api: Callable[..., StrictApi],
    fed: Callable[[StrictApi], TokenReceiver],
    host: Host,
    measured: Callable[[str], None],
) -> None:
    """The API takes the two newest tokens: so what is asked for is what was revoked."""
    api = start_api(kept=2)
    receiver = fed(api)

    def revoke() -> None:
        before = receiver.wait(20)
        api.revoke()
        receiver.wait(20, after=before)  # a rotation meanwhile would be one with the refresh

    rotations = [lambda: rotate(host)] * 10
    tally = call_through(make_calls, receiver, api, 10_000, [*rotations, revoke, *rotations])
    report, stats = api.report(), receiver.stats
    measured(f"{tally.statuses[OK]} calls, {report['refused']} refused and made again")
    assert tally.statuses == {OK: 10_000}
    assert report["calls"] == 10_000
    assert report["refused"] > 0  # of the revoked token
    assert report["refreshes"] >= 21  # on a slow machine the schedule adds one
    assert stats.refresh_requests == 1
    assert stats.refresh_refusals == 0


def test_a_provider_that_ends_each_token_at_the_next_is_bridged(
    make_calls: MakeCalls,
    start_api: Callable[..., StrictApi],
    fed: Callable[[StrictApi], TokenReceiver],
    host: Host,
) -> None:
    """Calls on their way at a rotation are refused, made again, and cause no refresh."""
    api = start_api(kept=1)
    receiver = fed(api)
    tally = call_through(make_calls, receiver, api, 2_000, [lambda: rotate(host)] * 5)
    assert tally.statuses == {OK: 2_000}
    assert api.report()["refreshes"] == 5


@pytest.mark.parametrize("parallel", [20])
def test_twenty_refusals_at_once_make_one_refresh(
    make_calls: MakeCalls,
    start_api: Callable[..., StrictApi],
    fed: Callable[[StrictApi], TokenReceiver],
    parallel: int,
) -> None:
    api = start_api()
    receiver = fed(api)
    api.revoke()
    tally = Tally(limit=parallel)
    make_calls(receiver, api, parallel, tally.add, parallel=parallel)
    assert tally.statuses == {OK: parallel}
    assert api.report()["refreshes"] == 1
    assert receiver.stats.refresh_requests == 1
