"""Fifty receivers and a real provider, through all that is done to a sender that runs."""

from __future__ import annotations

import itertools
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from support.programs import RECEIVE, TOKENRELAY, boot_ns

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.host import Host
    from support.programs import Line, Program, Start
    from support.provider import StartProvider

RECEIVERS = 50
SPARE_ACCOUNT = '[accounts.spare]\nclient_id = "me"\ntoken_url = "http://127.0.0.1:9/"\n'


class Fleet:
    """Fifty receivers in one process, judged by what each printed of its tokens."""

    def __init__(self, program: Program) -> None:
        self._program = program
        for index in range(RECEIVERS):
            program.wait_for_event("ready", receiver=index)

    def wait_for_newer(self, serial: int) -> int:
        """Wait until every receiver has a token after ``serial``; return the oldest of these."""
        return min(self._wait_for_newer(index, serial) for index in range(RECEIVERS))

    def _wait_for_newer(self, index: int, serial: int) -> int:
        def is_newer(line: Line) -> bool:
            return line.fields.get("receiver") == index and line.fields.get("serial", 0) > serial

        return int(self._program.wait_for(is_newer).fields["serial"])

    def tokens(self, index: int) -> list[dict[str, Any]]:
        return [
            line.fields
            for line in self._program.lines
            if line.fields.get("event") == "token" and line.fields["receiver"] == index
        ]


def gaps(tokens: list[dict[str, Any]]) -> list[float]:
    """Seconds between the end of each token and the arrival of the next, where that came later."""
    wall_at_boot = time.time_ns() - boot_ns()
    spans = [
        (after["received_at_ns"] + wall_at_boot) / 1e9 - before["expires_at"]
        for before, after in itertools.pairwise(tokens)
    ]
    return [span for span in spans if span > 0]


def hang_up(sender: Program, event: str) -> dict[str, Any]:
    """Send SIGHUP; return the fields of the event that follows."""
    last = sender.lines[-1]
    os.kill(sender.pid, signal.SIGHUP)
    return sender.wait_for_event(event, after=last).fields


@pytest.mark.timeout(240)
def test_no_receiver_is_ever_without_a_valid_token(
    host: Host, oauth_toolkit: StartProvider, start: Start, measured: Callable[[str], None]
) -> None:
    provider = oauth_toolkit(access_token_seconds=20)
    host.configure(provider, refresh_every="4s")
    host.import_login(provider)
    fleet = Fleet(start(*RECEIVE, "--count", str(RECEIVERS)))
    first = start(*TOKENRELAY, "run")
    serial = fleet.wait_for_newer(0)

    good = host.config.read_text()
    host.config.write_text(good + SPARE_ACCOUNT.replace("client_id", "client_ld"))
    assert "client_ld" in hang_up(first, "configuration refused, the old one stays")["error"]
    host.config.write_text(good + SPARE_ACCOUNT)
    assert hang_up(first, "configuration reloaded")["started"] == ["spare"]
    serial = fleet.wait_for_newer(serial)
    assert "receiver disconnected" not in first.output
    host.config.write_text(good.replace('"4s"', '"3s"'))
    reloaded = hang_up(first, "configuration reloaded")
    assert (reloaded["ended"], reloaded["restarted"]) == (["spare"], ["main"])
    serial = fleet.wait_for_newer(serial)

    second = start(*TOKENRELAY, "run", "--replace")
    assert first.wait() == 0
    second.wait_for_event("ready")
    serial = fleet.wait_for_newer(serial)
    last = second.lines[-1]
    assert second.terminate() == 0
    ending = second.wait_for_event("ending", after=last)
    ended = second.wait_for_event("ended", after=ending)
    third = start(*TOKENRELAY, "run")
    fleet.wait_for_newer(serial)
    assert third.terminate() == 0
    fleet.wait_for_newer(host.stored_token()["serial"] - 1)

    report = provider.report()
    assert (report["refreshes_refused"], report["reuse_flagged"]) == (0, False)
    assert report["refreshes"] == report["refresh_tokens"] - 1
    received = [fleet.tokens(index) for index in range(RECEIVERS)]
    for tokens in received:
        serials = [token["serial"] for token in tokens]
        assert serials == sorted(set(serials))
        assert gaps(tokens) == []
    seconds = (ended.seen_ns - ending.seen_ns) / 1e9
    measured(
        f"{RECEIVERS} receivers, {report['refreshes']} refreshes, 3 reloads, upgrade, restart: "
        f"0 lost tokens, 0 gaps; SIGTERM to the end in {seconds * 1e3:.0f} ms"
    )
