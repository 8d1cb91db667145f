"""Suspend and clock steps: one refresh, at once, and no storm."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from sender_support import FakeClock, Provider, account, granted, stored

from tokenrelay.sender.oauth_response import Outcome, classify
from tokenrelay.sender.refresher import Refresher
from tokenrelay.sender.vault import Vault

HOUR, TEN_YEARS = 3600.0, 10 * 365.25 * 86400
LONGEST_NAP = 30.0
SOONEST_REFRESH = 1460.0  # seconds after the one before, of a token of 30 minutes
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
WORKER = Path(__file__).with_name("clock_worker.py")


class Timeline:
    """A running refresher that lives through (kind, seconds) after (kind, seconds)."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.refreshes: list[float] = []  # boot seconds
        self.vault = Vault(folder / "main.json", wall=self.clock.wall)
        self.vault.store(stored())
        self._script: list[tuple[str, float]] = []
        self._left = 0.0
        self.jumps: list[float] = []

    async def refresh(self, _: str, **_options: float) -> Outcome:
        self.refreshes.append(self.clock.boot())
        body = json.dumps(granted(len(self.refreshes))).encode()
        return classify(200, {}, body, self.clock.wall())

    async def _sleep(self, seconds: float) -> None:
        """Time passes. A jump may fall into it, of which no timer knows: the service wakes the
        refresher then, as a kernel's timer tells it to."""
        rest = max(seconds, 0.001)
        while rest > 0:
            passed = min(rest, self._left)
            self.clock.advance(passed)
            rest, self._left = rest - passed, self._left - passed
            if self._left <= 0:
                self._next()
            await anyio.wait_all_tasks_blocked()

    def _next(self) -> None:
        if not self._script:
            self._tasks.cancel()
            return
        kind, self._left = self._script.pop(0)
        if kind == "pass":
            return
        amount, self._left = self._left, 0.0
        self.jumps.append(self.clock.boot())
        self.clock.wall_now += amount
        if kind == "suspend":
            self.clock.boot_now += amount
        self._refresher.wake()

    def live(self, *script: tuple[str, float]) -> Timeline:
        async def run() -> None:
            settings_ = account(self.vault.path, None)
            endpoint = SimpleNamespace(
                refresh=self.refresh, endpoints=SimpleNamespace(token_url=None)
            )
            self._refresher = Refresher(
                settings_, self.vault, cast("Any", endpoint), publish=lambda _: None,
                clock=self.clock, random=Random(1), log=structlog.get_logger(),
                sleep=self._sleep,
            )  # fmt: skip
            with anyio.CancelScope() as self._tasks:
                await self._refresher.run()

        self._script = list(script)
        anyio.run(run)
        return self


def live(*script: tuple[str, float]) -> Timeline:
    with tempfile.TemporaryDirectory() as folder:
        return Timeline(Path(folder)).live(*script)


@pytest.mark.parametrize("kind_and_seconds", [
    ("suspend", 8 * HOUR), ("step", HOUR), ("step", TEN_YEARS),
])  # fmt: skip
def test_what_ends_the_token_causes_one_refresh_at_once(
    kind_and_seconds: tuple[str, float],
) -> None:
    timeline = live(("pass", 300.0), kind_and_seconds, ("pass", 1400.0))
    assert len(timeline.refreshes) == 1
    slept = kind_and_seconds[1] if kind_and_seconds[0] == "suspend" else 0.0
    assert timeline.refreshes[0] == timeline.jumps[0] + slept


@pytest.mark.parametrize("seconds", [-HOUR, -TEN_YEARS, -5.0])
def test_clock_set_back_causes_none_and_the_token_is_still_replaced_in_time(
    seconds: float,
) -> None:
    timeline = live(("pass", 300.0), ("step", seconds), ("pass", 1000.0))
    assert timeline.refreshes == []
    timeline = live(("pass", 300.0), ("step", seconds), ("pass", 1400.0))
    assert len(timeline.refreshes) == 1


def test_clock_wrong_at_boot_and_then_set_right_costs_one_refresh_each_way() -> None:
    timeline = live(("step", TEN_YEARS), ("pass", 60.0), ("step", -TEN_YEARS), ("pass", 1200.0))
    assert len(timeline.refreshes) == 1


EVENTS = st.one_of(
    st.tuples(st.just("pass"), st.floats(1.0, 4000.0)),
    st.tuples(st.just("suspend"), st.sampled_from([1.0, 60.0, 1500.0, 8 * HOUR, 7 * 86400.0])),
    st.tuples(st.just("step"), st.sampled_from(
        [HOUR, -HOUR, TEN_YEARS, -TEN_YEARS, 1.0, -1.0, 1500.0, -1500.0])),
)  # fmt: skip


@settings(max_examples=60, deadline=None, print_blob=True)
@given(st.lists(EVENTS, max_size=12))
def test_no_order_of_jumps_causes_a_storm(script: list[tuple[str, float]]) -> None:
    timeline = live(*script, ("pass", 120.0))
    elapsed = sum(seconds for kind, seconds in script if kind == "pass") + 120.0
    naps = LONGEST_NAP * (2 + len(script))
    jumps = sum(kind != "pass" for kind, _ in script)
    assert len(timeline.refreshes) <= jumps + (elapsed + naps) / SOONEST_REFRESH + 1
    for before, after in zip(timeline.refreshes, timeline.refreshes[1:], strict=False):
        between = [jump for jump in timeline.jumps if before <= jump <= after]
        assert after - before >= SOONEST_REFRESH or between


def test_whole_process_under_faketime_refreshes_once_for_each_step_forward(
    tmp_path: Path,
) -> None:
    """libfaketime moves the wall clock of a real process that keeps its own timers."""
    provider = Provider()
    try:
        wall, token = tmp_path / "wall", tmp_path / "main.json"
        wall.write_text("+0")
        now = int(time.time())
        Vault(token).store(stored(expires_at=now + 1800, issued_at=now))
        with _worker(token, provider.token_url, wall) as worker:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "access-0\n"
            for number, offset in enumerate(("+3600", "+315576000"), start=1):
                wall.write_text(offset)
                assert worker.stdout.readline() == f"access-{number}\n"
            wall.write_text("-3600")
            assert _quiet(provider)
            worker.kill()
        assert provider.requests == 2
    finally:
        provider.close()


def _worker(token: Path, url: str, wall: Path) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(wall),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    return subprocess.Popen(
        [sys.executable, str(WORKER), str(token), url],
        stdout=subprocess.PIPE, env=environment, text=True,
    )  # fmt: skip


def _quiet(provider: Provider) -> bool:
    """Whether nobody asks for two seconds, twenty naps of the worker."""
    while provider.asked.acquire(blocking=False):
        continue
    return not provider.asked.acquire(timeout=2.0)
