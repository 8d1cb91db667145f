"""Metrics for Prometheus, at an address or a Unix socket. Needs the extra ``metrics``."""

from __future__ import annotations

import socket
from functools import partial
from importlib.metadata import version
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Any, Self

from anyio.from_thread import BlockingPortal

from tokenrelay.sender import peers
from tokenrelay.sender.config_values import split_address
from tokenrelay.sender.errors import ConfigurationError, SenderError

try:
    from prometheus_client import (
        CollectorRegistry,
        Counter,
        Gauge,
        Histogram,
        MetricsHandler,
        ProcessCollector,
    )
    from prometheus_client.core import GaugeMetricFamily
except ImportError:
    raise ConfigurationError(
        "sender.metrics is set, but prometheus-client is missing: "
        "pip install 'tokenrelay[sender,metrics]'"
    ) from None

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tokenrelay.sender.clock import Clock

REFRESH_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
DELIVERY_BUCKETS = (1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 5e-2, 0.25, 1.0, 2.5)
REJECT_CODES = frozenset(
    """too_large malformed unsupported invalid_token expired stale conflict timeout busy
    no_answer""".split()  # noqa: SIM905
)
LOGIN_OVER = ("login_needed", "lost_rotation")
SCRAPE_SECONDS = 5.0

Status = list[dict[str, Any]]


class Metrics:
    """Listens while entered, serves while it runs.

    `where`: HOST:PORT, or the absolute path of a socket. Entering raises SenderError where it
    cannot be had.
    """

    def __init__(self, where: str, *, clock: Clock) -> None:
        self._where = where
        self._path = Path(where) if where.startswith("/") else None
        self._registry = CollectorRegistry()
        self._clock = clock
        self._counts = _Counts(self._registry)
        ProcessCollector(registry=self._registry)
        info = Gauge("tokenrelay_sender_info", "The running sender", ["version"],
                     registry=self._registry)  # fmt: skip
        info.labels(version("tokenrelay")).set(1)

    def __enter__(self) -> Self:
        try:
            self._server = _Server(self._listen(), self._registry)
        except OSError as error:
            raise SenderError(
                f"sender.metrics: nothing can listen at {self._where}: {error.strerror}. See who "
                "does: ss -lpn; or choose another address"
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        self._server.server_close()
        if self._path is not None and peers.identify(self._path) == self._identity:
            self._path.unlink(missing_ok=True)

    def _listen(self) -> socket.socket:
        if self._path is not None:
            listener = peers.listen(self._path)
            self._identity = peers.identify(self._path)
            return listener
        host, port = split_address(self._where)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family)
        listener.setblocking(False)
        return listener

    def meter(self, account: str) -> AccountMeter:
        """What is told of the events of one account."""
        return AccountMeter(self._counts, account)

    async def run(self, status: Callable[[], Status]) -> None:
        """Answer scrapes until cancelled; `status` is called on this event loop."""
        async with BlockingPortal() as portal:
            collector = _Collector(lambda: portal.call(status), self._clock)
            self._registry.register(collector)
            while True:
                self._server.serve(*await peers.accept(self._server.socket))


class AccountMeter:
    """Counts for one account; see `meter.Meter`."""

    def __init__(self, counts: _Counts, account: str) -> None:
        self._counts, self._account = counts, account
        self._delivered = counts.deliveries.labels(account)
        self._delivery_seconds = counts.delivery_seconds.labels(account)
        self._refresh_seconds = counts.refresh_seconds.labels(account)

    def refreshed(self, outcome: str, seconds: float) -> None:
        self._counts.refreshes.labels(self._account, outcome).inc()
        self._refresh_seconds.observe(seconds)

    def delivered(self, seconds: float | None) -> None:
        self._delivered.inc()
        if seconds is not None:
            self._delivery_seconds.observe(seconds)

    def rejected(self, code: str) -> None:
        # What a receiver says is not ours to make time series of.
        code = code if code in REJECT_CODES else "other"
        self._counts.rejects.labels(self._account, code).inc()


class _Counts:
    """What is counted as it happens."""

    def __init__(self, registry: CollectorRegistry) -> None:
        count = partial(Counter, registry=registry)
        measure = partial(Histogram, registry=registry)
        self.refreshes: Counter = count(
            "tokenrelay_refresh_attempts",
            "Requests to the token endpoint, by what became of them",
            ["account", "outcome"],
        )
        self.refresh_seconds: Histogram = measure(
            "tokenrelay_refresh_duration_seconds",
            "How long requests to the token endpoint took",
            ["account"],
            buckets=REFRESH_BUCKETS,
        )
        self.deliveries: Counter = count(
            "tokenrelay_deliveries", "Tokens that a receiver took", ["account"]
        )
        self.delivery_seconds: Histogram = measure(
            "tokenrelay_delivery_latency_seconds",
            "From sending a token to the receiver's answer",
            ["account"],
            buckets=DELIVERY_BUCKETS,
        )
        self.rejects: Counter = count(
            "tokenrelay_delivery_rejects",
            "Tokens that a receiver did not take, by its code",
            ["account", "code"],
        )


class _Collector:
    """What is asked for when somebody looks."""

    def __init__(self, status: Callable[[], Status], clock: Clock) -> None:
        self._status, self._clock = status, clock

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Nothing: registering must not ask an event loop that waits for it."""
        return ()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        accounts, now = self._status(), self._clock.wall()
        for name, text, value in _GAUGES:
            family = GaugeMetricFamily(f"tokenrelay_{name}", text, labels=["account"])
            for account in accounts:
                if (found := value(account, now)) is not None:
                    family.add_metric([account["name"]], found)
            yield family


def _token_left(account: dict[str, Any], now: float) -> float:
    token = account["token"]
    return max(0.0, float(token["expires_at"]) - now) if token else 0.0


def _login_left(account: dict[str, Any], now: float) -> float | None:
    end = account["grant_expires_at"]
    return None if end is None else max(0.0, float(end) - now)


def _connected(account: dict[str, Any], _now: float) -> float:
    return sum(bool(receiver["connected"]) for receiver in account["receivers"])


def _unserved(account: dict[str, Any], _now: float) -> float:
    return sum(receiver["error"] is not None for receiver in account["receivers"])


_GAUGES: tuple[tuple[str, str, Callable[[dict[str, Any], float], float | None]], ...] = (
    ("token_remaining_seconds", "Until the access token expires; 0: there is none", _token_left),
    ("login_remaining_seconds", "Until the login itself ends, where that is known", _login_left),
    ("login_ends_soon", "1 from the first warning on", lambda a, _: a["login_warning"] is not None),
    ("login_needed", "1 where only a new login helps", lambda a, _: a["phase"] in LOGIN_OVER),
    ("refresh_failures", "Failures since the last refresh", lambda a, _: a["failures"]),
    ("receivers", "Receivers that are connected", _connected),
    ("receivers_unserved", "Receivers whose last delivery failed", _unserved),
)


class _Handler(MetricsHandler):
    timeout = SCRAPE_SECONDS


class _Server(ThreadingMixIn, TCPServer):
    """Serves `registry` on a socket that listens already."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, listener: socket.socket, registry: CollectorRegistry) -> None:
        handler = type("Handler", (_Handler,), {"registry": registry})
        super().__init__(listener.getsockname(), handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener

    def serve(self, request: socket.socket, address: Any) -> None:
        """Answer on a thread of its own, so that a slow client holds nobody up."""
        try:
            self.process_request(request, address)
        except RuntimeError:  # no thread to be had
            self.shutdown_request(request)

    def handle_error(self, *_: Any) -> None:
        """Nothing: a client that went away is its own affair."""
