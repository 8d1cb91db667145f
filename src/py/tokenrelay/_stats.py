"""What a receiver counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverStats:
    """A snapshot of a receiver's counters, which go on over a stop and a start.

    Attributes:
        generation: of the current token, 0 before the first.
        published: tokens made current.
        repeated: frames that brought the current token again.
        refused: frames refused, by the code of docs/protocol.md: ``"stale"``, ``"malformed"``, …
        connections: open now.
        accepted: connections accepted so far.
        foreign: connections ended because their user is not allowed.
        accept_failures: connections that could not be accepted, for want of descriptors mostly.
        rebinds: how often the socket's file was gone or replaced, and was made again.
        refresh_requests: refreshes asked of a sender.
        refresh_refusals: refreshes that a sender refused.
        callback_overruns: tokens whose native callbacks took more than 1 ms.
        callback_errors: callbacks given to ``subscribe`` that raised.
        retained: replaced tokens that a reader still holds in native memory.
        native_p50_ns: from the last byte read until the native callbacks returned, median.
        native_p99_ns: the same, 99th percentile.
        native_max_ns: the same, longest.
        python_p50_ns: from the last byte read until such a callback is entered, median. Tokens that
            were there before the callback do not count.
        python_p99_ns: the same, 99th percentile.
        membarrier: readers need no fence, since the kernel has membarrier(2).
        memory_locked: tokens are kept out of swap, mlock(2).
    """

    generation: int
    published: int
    repeated: int
    refused: Mapping[str, int]
    connections: int
    accepted: int
    foreign: int
    accept_failures: int
    rebinds: int
    refresh_requests: int
    refresh_refusals: int
    callback_overruns: int
    callback_errors: int
    retained: int
    native_p50_ns: int
    native_p99_ns: int
    native_max_ns: int
    python_p50_ns: int
    python_p99_ns: int
    membarrier: bool
    memory_locked: bool
