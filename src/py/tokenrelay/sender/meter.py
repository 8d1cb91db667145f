"""What is counted while an account is served; `metrics` shows it to Prometheus."""

from __future__ import annotations

from typing import Protocol


class Meter(Protocol):
    """Told of each event of one account. For the event loop's thread; must not block."""

    def refreshed(self, outcome: str, seconds: float) -> None:
        """One request to the token endpoint ended with this `Kind` after ``seconds``."""

    def delivered(self, seconds: float | None) -> None:
        """A receiver took a token, ``seconds`` after it was sent where that is known."""

    def rejected(self, code: str) -> None:
        """A receiver did not take a token: the wire's code, or ``no_answer``."""


class NoMeter:
    """Counts nothing."""

    def refreshed(self, outcome: str, seconds: float) -> None:
        pass

    def delivered(self, seconds: float | None) -> None:
        pass

    def rejected(self, code: str) -> None:
        pass


NO_METER = NoMeter()
