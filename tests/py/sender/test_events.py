from __future__ import annotations

import json
import os
import select
import signal
import sys
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from sender_support import FakeClock
from structlog.testing import capture_logs

from tokenrelay.sender import events
from tokenrelay.sender.events import EventHook, fill
from tokenrelay.sender.logs import get_log

if TYPE_CHECKING:
    from pathlib import Path

TELL = """
import json, os, sys
with open(sys.argv[1], "a") as file:
    file.write(json.dumps({"words": sys.argv[2:], "environment": dict(os.environ)}) + chr(10))
"""


def run_hook(command: tuple[str, ...], *names: Any, clock: FakeClock | None = None) -> Any:
    """Notify of each name, let the hook work until it is idle, return what was logged."""

    async def main() -> None:
        hook = EventHook(command, "main", clock=clock or FakeClock(), log=get_log())
        for name in names:
            hook.notify(name)
        while hook._waiting:
            await hook._run_one(hook._waiting.popleft())

    with capture_logs() as lines:
        anyio.run(main)
    return lines


def told(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_command_gets_event_and_account_without_a_shell(short_path: Path) -> None:
    path = short_path / "told"
    command = (sys.executable, "-c", TELL, str(path), "{event}", "of {account}", "$(id) {other}")
    assert run_hook(command, "login_over") == []
    assert told(path)[0]["words"] == ["login_over", "of main", "$(id) {other}"]


def test_the_senders_environment_stays_with_the_sender(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = short_path / "told"
    monkeypatch.setenv("SCHWAB_SECRET", "a-secret")
    monkeypatch.setenv("DISPLAY", ":7")
    run_hook((sys.executable, "-c", TELL, str(path)), "login_over")
    environment = told(path)[0]["environment"]
    assert environment["DISPLAY"] == ":7"
    assert "SCHWAB_SECRET" not in environment


def test_the_same_event_runs_the_command_once_a_minute(short_path: Path) -> None:
    path, clock = short_path / "told", FakeClock()
    command = (sys.executable, "-c", TELL, str(path), "{event}")
    run_hook(command, *["receiver_lost"] * 50, "login_over", clock=clock)
    assert [line["words"] for line in told(path)] == [["receiver_lost"], ["login_over"]]


def test_after_a_minute_it_runs_again() -> None:
    clock = FakeClock()
    hook = EventHook(("x",), "main", clock=clock, log=get_log())
    for _ in range(3):
        hook.notify("receiver_lost")
        clock.advance(31)
    assert list(hook._waiting) == ["receiver_lost"] * 2


@pytest.mark.parametrize(
    ("command", "logged"),
    [
        (("/nonexistent/program",), "on_event cannot be run"),
        (("a\0b",), "on_event cannot be run"),
        ((sys.executable, "-c", "raise SystemExit(3)"), "on_event failed"),
    ],
)
def test_a_command_that_fails_is_logged_and_harms_nothing(
    command: tuple[str, ...], logged: str
) -> None:
    assert [line["event"] for line in run_hook(command, "login_over")] == [logged]


def test_a_command_that_hangs_is_ended_with_its_children(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "LIMIT_SECONDS", 1.0)
    fifo = short_path / "fifo"
    os.mkfifo(fifo)
    # Both hold the pipe's writing end: it ends when both are gone.
    code = f"import os, signal; file = open({str(fifo)!r}, 'w'); os.fork(); signal.pause()"
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    lines = run_hook((sys.executable, "-c", code), "login_over")
    assert [line["event"] for line in lines] == ["on_event ended by us"]
    os.set_blocking(reader, True)
    signal.alarm(10)
    assert os.read(reader, 1) == b""
    signal.alarm(0)
    os.close(reader)


def test_a_command_that_became_another_users_is_left_alone(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fifo = short_path / "fifo"
    os.mkfifo(fifo)

    def refuse(_pid: int, _number: int) -> None:
        fifo.write_text("it ends by itself")
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(events, "LIMIT_SECONDS", 0.5)
    monkeypatch.setattr(events.os, "killpg", refuse)
    code = f"open({str(fifo)!r}).read()"
    lines = run_hook((sys.executable, "-c", code), "login_over")
    assert [line["event"] for line in lines] == ["on_event ended by us"]


def test_a_sender_that_ends_takes_a_hanging_command_with_it(short_path: Path) -> None:
    fifo = short_path / "fifo"
    os.mkfifo(fifo)
    # It holds the pipe's writing end until it is gone.
    code = f"import signal; file = open({str(fifo)!r}, 'wb', 0); file.write(b'x'); signal.pause()"
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)

    async def main() -> None:
        hook = EventHook((sys.executable, "-c", code), "main", clock=FakeClock(), log=get_log())
        async with anyio.create_task_group() as group:
            group.start_soon(hook.run)
            hook.notify("login_over")
            await anyio.wait_readable(reader)
            assert os.read(reader, 1) == b"x"
            group.cancel_scope.cancel()

    anyio.run(main)
    assert select.select([reader], [], [], 10)[0], "the command still runs"
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_other_braces_in_the_command_stay() -> None:
    assert fill(("{event}{", "{}", "%s"), event="e", account="a") == ["e{", "{}", "%s"]
