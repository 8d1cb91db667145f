"""What the demo shows: a live picture in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from tokenrelay.demo.score import Score, WorkerScore

PLAIN_SECONDS = 5.0
SPARKS = "▁▂▃▄▅▆▇█"
EVENTS_SHOWN = 8


class View(Protocol):
    """Shows events as they come and the score as it stands."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def tell(self, text: str, bad: bool) -> None:
        """An event."""

    def update(self, score: Score, left: float, /) -> None:
        """The score, ``left`` seconds before the end; called several times a second."""


class PlainView:
    """One line an event, and one every few seconds."""

    def __init__(self, console: Console, started: float) -> None:
        self._console, self._started = console, started
        self._next = started + PLAIN_SECONDS

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def tell(self, text: str, bad: bool) -> None:
        elapsed = time.monotonic() - self._started
        mark = "!" if bad else " "
        self._console.print(f"{elapsed:5.1f} s {mark} {text}", highlight=False, soft_wrap=True)

    def update(self, score: Score, _left: float) -> None:
        if time.monotonic() >= self._next:
            self._next += PLAIN_SECONDS
            self.tell(_status_line(score), False)


class LiveView:
    """A picture redrawn in place."""

    def __init__(self, console: Console, started: float, lifetime: int) -> None:
        self._started, self._lifetime = started, lifetime
        self._events: deque[Text] = deque(maxlen=EVENTS_SHOWN)
        self._live = Live(console=console, refresh_per_second=8)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def tell(self, text: str, bad: bool) -> None:
        elapsed = time.monotonic() - self._started
        self._events.append(Text(f"{elapsed:5.1f} s  {text}", style="red" if bad else ""))

    def update(self, score: Score, left: float) -> None:
        now = time.time()
        self._live.update(
            Panel(
                Group(
                    _counts(score),
                    Text(f"\ntoken time left  {sparkline(score.time_left, self._lifetime)}\n"),
                    _worker_table(score, now, self._lifetime),
                    Text(),
                    *self._events,
                ),
                title="tokenrelay demo",
                subtitle=f"ends in {max(0.0, left):.0f} s; Ctrl-C ends it now",
            )
        )


def sparkline(values: Sequence[float], highest: float, width: int = 60) -> str:
    """The last ``width`` values, each a block as high as its share of ``highest``."""
    top = len(SPARKS) - 1
    shares = (min(1.0, max(0.0, value / highest)) for value in list(values)[-width:])
    return "".join(SPARKS[round(share * top)] for share in shares)


def summary_table(score: Score, seconds: float) -> RenderableType:
    """The figures at the end."""
    table = Table(title=f"tokenrelay demo, {seconds:.0f} s", title_justify="left")
    table.add_column("what")
    table.add_column("figure", justify="right")
    figures = score.summary()
    rows = (
        ("refreshes by the provider", figures["refreshes"]),
        ("deliveries to programs", figures["deliveries"]),
        ("API calls", figures["api_calls"]),
        ("calls refused", figures["calls_refused"]),
        ("restarts survived", f"{figures['restarts_survived']} of {figures['restarts']}"),
        ("delivery p50, last byte read to callback, cold", _unit(figures["delivery_p50_us"], "µs")),
        ("delivery p99", _unit(figures["delivery_p99_us"], "µs")),
        ("sender's send to the answer, p50", _unit(figures["answer_p50_us"], "µs")),
        ("sender's send to the answer, p99", _unit(figures["answer_p99_us"], "µs")),
        ("provider's answer to callback, p50", _unit(figures["end_to_end_p50_ms"], "ms")),
        ("provider's answer to callback, p99", _unit(figures["end_to_end_p99_ms"], "ms")),
    )
    for name, figure in rows:
        table.add_row(name, str(figure))
    return table


def _unit(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:.1f} {unit}"


def _counts(score: Score) -> Text:
    refused = score.refused
    return Text.assemble(
        ("refreshes ", "dim"), str(score.refreshes),
        ("   deliveries ", "dim"), str(len(score.latencies_us)),
        ("   API calls ", "dim"), str(score.calls),
        ("   refused ", "dim"), (str(refused), "red bold" if refused else "green"),
    )  # fmt: skip


def _worker_table(score: Score, now: float, lifetime: int) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("program", "process", "token", "generation"):
        table.add_column(heading)
    table.add_column("time left", width=24)
    for heading in ("", "latency", "calls"):
        table.add_column(heading, justify="right")
    for worker in score.workers.values():
        table.add_row(*_worker_row(worker, now, lifetime))
    return table


def _worker_row(worker: WorkerScore, now: float, lifetime: int) -> tuple[RenderableType, ...]:
    calls = str(worker.calls_before + worker.calls)
    if not worker.running:
        return worker.name, Text("killed", style="red"), "", "", "", "", "", calls
    if worker.expires_at is None:
        return worker.name, str(worker.pid), Text("waiting", style="yellow"), "", "", "", "", calls
    left = max(0.0, worker.expires_at - now)
    latency = "" if worker.latency_us is None else f"{worker.latency_us:.1f} µs"
    return (
        worker.name, str(worker.pid), worker.fingerprint, str(worker.generation),
        ProgressBar(total=lifetime, completed=left), f"{left:.1f} s", latency, calls,
    )  # fmt: skip


def _status_line(score: Score) -> str:
    left = score.time_left[-1] if score.time_left else 0.0
    return (
        f"refreshes {score.refreshes}, deliveries {len(score.latencies_us)}, "
        f"API calls {score.calls}, refused {score.refused}; token valid for {left:.1f} s more"
    )
