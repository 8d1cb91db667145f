"""What one account's delivery and its connections share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger

    from tokenrelay.sender.clock import Clock
    from tokenrelay.sender.meter import Meter


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """An encoded token; compared by identity."""

    line: bytes = field(repr=False)
    serial: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class ReceiverState:
    """What is known of one receiver. `latency`: seconds from the send to the answer."""

    path: str
    pid: int | None = None
    program: str | None = None
    connected: bool = False
    generation: int | None = None
    serial: int | None = None
    delivered_at: float | None = None
    latency: float | None = None
    error: str | None = None


@dataclass(slots=True)
class Outlet:
    """What all receivers of one account share."""

    account_name: str
    allowed_uids: frozenset[int]
    on_refresh_request: Callable[[int], str | None]
    raise_serial: Callable[[int], None] | None
    on_change: Callable[[], None]
    meter: Meter
    clock: Clock
    log: FilteringBoundLogger
    frame: Frame | None = None
