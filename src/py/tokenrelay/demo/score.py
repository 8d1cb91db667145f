"""What the demo has seen so far, and its verdict. No I/O: reports in, figures out."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tokenrelay.demo.children import Report


@dataclass(slots=True)
class WorkerScore:
    """One receiving program; its figures go on after a restart."""

    name: str
    pid: int
    running: bool = True
    generation: int = 0
    fingerprint: str = ""
    expires_at: int | None = None
    latency_us: float | None = None
    calls: int = 0
    calls_before: int = 0
    recovering: bool = False
    fed_after_restart: bool = False

    def restart(self, pid: int) -> None:
        """It runs again, as another process that knows nothing."""
        self.pid, self.running, self.recovering = pid, True, True
        self.generation, self.expires_at = 0, None
        self.calls_before += self.calls
        self.calls, self.fed_after_restart = 0, False


@dataclass(slots=True)
class Score:
    """The whole demo. ``tell`` hears of what is worth a line: (text, whether it is bad)."""

    tell: Callable[[str, bool], None]
    workers: dict[str, WorkerScore] = field(default_factory=dict)
    refreshes: int = 0
    calls: int = 0
    refused: int = 0
    failed: int = 0
    restarts: int = 0
    restarts_survived: int = 0
    latencies_us: list[float] = field(default_factory=list)
    answers_us: list[float] = field(default_factory=list)
    end_to_end_ms: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    time_left: deque[float] = field(default_factory=lambda: deque(maxlen=120))
    _answered_ns: dict[str, int] = field(default_factory=dict)

    def add_worker(self, name: str, pid: int) -> None:
        if name in self.workers:
            self.workers[name].restart(pid)
            self.tell(f"{name} started again, process {pid}", False)
        else:
            self.workers[name] = WorkerScore(name, pid)

    def kill_worker(self, name: str) -> None:
        self.restarts += 1
        self.workers[name].running = False
        self.tell(f"{name} killed (SIGKILL)", False)

    def fail(self, cause: str) -> None:
        """Something that makes the demo end with exit code 1."""
        self.failures.append(cause)
        self.tell(cause, True)

    def apply(self, report: Report) -> None:
        """Take in one report of a child."""
        handler = {
            "refresh": self._refreshed,
            "refresh_refused": self._refresh_refused,
            "refused": self._call_refused,
            "counts": self._counted,
            "delivered": self._answered,
            "token": self._delivered,
            "calls": self._called,
        }.get(report.event)
        if handler is not None:
            handler(report)

    def sample(self, now: float) -> None:
        """Note the shortest time any running worker's token has left."""
        left = [w.expires_at - now for w in self.workers.values() if w.running and w.expires_at]
        if left:
            self.time_left.append(min(left))

    def verdict(self) -> list[str]:
        """Why it failed; empty where it did not."""
        checks = (
            (self.refused, f"{self.refused} calls were refused"),
            (self.failed, f"{self.failed} calls got no answer"),
            (not self.calls, "no call was made"),
            (not self.refreshes, "nothing was refreshed"),
            (not self.latencies_us, "nothing was delivered"),
            (self.restarts_survived < self.restarts, "the restarted worker did not work again"),
            (not self.restarts, "no worker was restarted"),
        )
        return [*self.failures, *(text for wrong, text in checks if wrong)]

    def summary(self) -> dict[str, Any]:
        """The figures, in the order of the table; latencies rounded."""
        return {
            "refreshes": self.refreshes,
            "deliveries": len(self.latencies_us),
            "api_calls": self.calls,
            "calls_refused": self.refused,
            "restarts": self.restarts,
            "restarts_survived": self.restarts_survived,
            "delivery_p50_us": percentile(self.latencies_us, 0.50),
            "delivery_p99_us": percentile(self.latencies_us, 0.99),
            "answer_p50_us": percentile(self.answers_us, 0.50),
            "answer_p99_us": percentile(self.answers_us, 0.99),
            "end_to_end_p50_ms": percentile(self.end_to_end_ms, 0.50),
            "end_to_end_p99_ms": percentile(self.end_to_end_ms, 0.99),
        }

    def _refreshed(self, report: Report) -> None:
        self.refreshes += 1
        self._answered_ns[report.fields["fingerprint"]] = report.fields["at_ns"]
        self.tell(f"refresh {self.refreshes}: new token {report.fields['fingerprint']}", False)

    def _refresh_refused(self, _report: Report) -> None:
        self.fail("the provider refused a refresh")

    def _call_refused(self, report: Report) -> None:
        self.tell(f"{report.fields['worker']}: call refused, {report.fields['reason']}", True)

    def _counted(self, report: Report) -> None:
        self.calls, self.refused = report.fields["calls"], report.fields["refused"]

    def _answered(self, report: Report) -> None:
        # The sender's log: from its send to the receiver's answer.
        self.answers_us.append(report.fields["latency_us"])

    def _delivered(self, report: Report) -> None:
        worker, fields = self.workers[report.child.name], report.fields
        if worker.pid != report.child.pid:
            return
        worker.generation, worker.expires_at = fields["generation"], fields["expires_at"]
        worker.fingerprint, worker.latency_us = fields["fingerprint"], fields["latency_us"]
        self.latencies_us.append(fields["latency_us"])
        answered_ns = self._answered_ns.get(worker.fingerprint)
        if worker.recovering:
            worker.recovering, worker.fed_after_restart = False, True
            since = fields["since_start_ms"]
            self.tell(f"{worker.name} has the token again, {since:.1f} ms after listening", False)
        elif answered_ns is not None and worker.generation > 1:
            self.end_to_end_ms.append((fields["entered_ns"] - answered_ns) / 1e6)
            self._tell_if_complete(worker.fingerprint, self.end_to_end_ms[-1])

    def _tell_if_complete(self, fingerprint: str, since_answer_ms: float) -> None:
        running = [worker for worker in self.workers.values() if worker.running]
        if all(worker.fingerprint == fingerprint for worker in running):
            count = len(running)
            self.tell(
                f"all {count} programs have {fingerprint}, {since_answer_ms:.1f} ms after the "
                "provider's answer",
                False,
            )

    def _called(self, report: Report) -> None:
        worker = self.workers[report.child.name]
        if worker.pid != report.child.pid:
            return
        worker.calls = report.fields["calls"]
        if report.fields["failed"]:
            self.failed = max(self.failed, report.fields["failed"])
        if worker.fed_after_restart and worker.calls:
            worker.fed_after_restart = False
            self.restarts_survived += 1


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that ``share`` of all do not exceed (nearest rank); None of none."""
    if not values:
        return None
    ranked = sorted(values)
    return round(ranked[max(0, math.ceil(share * len(ranked)) - 1)], 1)
