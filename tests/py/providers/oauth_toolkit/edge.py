"""The test provider's HTTP edge: counts what was really asked, and can hold answers back."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse


class Counters:
    """Answers by kind and status, and the moment of the last refresh (BOOTTIME ns). Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, int]] = Counter()
        self._last_refresh_ns = 0

    def add(self, kind: str, status: int) -> None:
        with self._lock:
            self._counts[kind, status] += 1
            if (kind, status) == ("refresh", 200):
                self._last_refresh_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def snapshot(self) -> dict[str, int]:
        with self._lock:
            return {
                "refreshes": self._counts["refresh", 200],
                "refreshes_refused": self._refused("refresh"),
                "calls": self._counts["call", 200],
                "calls_refused": self._refused("call"),
                "last_refresh_ns": self._last_refresh_ns,
            }

    def _refused(self, kind: str) -> int:
        return sum(
            count
            for (name, status), count in self._counts.items()
            if name == kind and status != 200
        )


COUNTERS = Counters()


class Gate:
    """Open, or holding every refresh after it was carried out and before it is answered."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._open.set()

    def obey(self, order: str) -> None:
        if order == "hold":
            self._open.clear()
        else:
            self._open.set()

    def pass_through(self) -> None:
        if not self._open.is_set():
            print('{"event": "held"}', flush=True)
            self._open.wait()


GATE = Gate()


class Edge:
    """The middleware that fills `COUNTERS` and stops at `GATE`."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        kind = _kind(request)
        if kind is not None:
            COUNTERS.add(kind, response.status_code)
        if kind == "refresh":
            GATE.pass_through()
        return response


def _kind(request: HttpRequest) -> str | None:
    if request.path == "/resource/":
        return "call"
    is_refresh = request.path == "/o/token/" and request.POST.get("grant_type") == "refresh_token"
    return "refresh" if is_refresh else None
