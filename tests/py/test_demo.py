"""`tokenrelay demo`: the whole system, with processes, a crash and an API that checks."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path

import pytest

from support.programs import TOKENRELAY, Program, Start
from tokenrelay.demo.provider import Provider
from tokenrelay.demo.score import percentile

SECONDS = 12


@pytest.fixture
def temporary(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the demo makes its directory, so that what it leaves behind is seen."""
    monkeypatch.setenv("TMPDIR", str(short_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return short_path


def children_of(program: Program) -> list[int]:
    path = Path(f"/proc/{program.pid}/task/{program.pid}/children")
    return [int(pid) for pid in path.read_text().split()]


def start_demo(start: Start) -> Program:
    demo = start(*TOKENRELAY, "demo", "--seconds", "60", environment=dict(os.environ))
    demo.wait_for(lambda line: "sender ready" in line.text)
    return demo


def test_the_demo_survives_a_crash_and_no_call_is_refused(start: Start, temporary: Path) -> None:
    demo = start(
        *TOKENRELAY, "demo", "--seconds", str(SECONDS), "--json", environment=dict(os.environ)
    )
    assert demo.wait(timeout=90) == 0, demo.output
    (result,) = [line.fields for line in demo.lines if line.stream == "out"]
    assert (result["ok"], result["failures"], result["calls_refused"]) == (True, [], 0)
    assert result["refreshes"] >= 1
    assert result["deliveries"] >= 3 + 1 + 3
    assert (result["restarts"], result["restarts_survived"]) == (1, 1)
    assert result["api_calls"] > 100
    assert 0 < result["delivery_p50_us"] <= result["delivery_p99_us"]
    assert list(temporary.iterdir()) == []


def test_the_demo_that_is_interrupted_leaves_no_process_and_no_file(
    start: Start, temporary: Path
) -> None:
    demo = start_demo(start)
    children = children_of(demo)
    assert len(children) == 5
    os.kill(demo.pid, signal.SIGINT)
    assert demo.wait() == 130
    assert "Traceback" not in demo.output
    assert list(temporary.iterdir()) == []
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)


def test_the_demo_fails_when_its_sender_dies(start: Start, temporary: Path) -> None:
    demo = start_demo(start)
    line = next(line for line in demo.lines if "sender ready" in line.text)
    sender = int(line.text.partition("process ")[2].partition(";")[0])
    children = children_of(demo)
    os.kill(sender, signal.SIGKILL)
    assert demo.wait() == 1
    assert "the sender ended by itself" in demo.output
    assert list(temporary.iterdir()) == []
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)


def test_a_refresh_token_used_twice_revokes_its_login_and_no_other() -> None:
    provider = Provider(10)
    first, other = provider.log_in(), provider.log_in()
    second = provider.refresh(first["refresh_token"])
    assert second is not None
    assert provider.refusal(first["access_token"]) is None
    assert provider.refusal(second["access_token"]) is None
    assert provider.refresh(first["refresh_token"]) is None
    assert provider.refusal(second["access_token"]) == "revoked"
    assert provider.refresh(second["refresh_token"]) is None
    assert provider.refusal(other["access_token"]) is None


def test_an_access_token_is_refused_when_it_expires_or_was_never_issued() -> None:
    now = 1000.0
    provider = Provider(10, wall=lambda: now)
    token = provider.log_in()["access_token"]
    now = 1009.9
    assert provider.refusal(token) is None
    now = 1010.0
    assert provider.refusal(token) == "expired"
    assert provider.refusal("guess") == "unknown"


def test_a_percentile_is_the_nearest_rank() -> None:
    assert percentile([], 0.5) is None
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([float(value) for value in range(1, 101)], 0.99) == 99.0
