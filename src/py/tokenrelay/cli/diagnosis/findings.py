"""What a check says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "fault"]


@dataclass(frozen=True, slots=True)
class Finding:
    """``subject``: what was checked. ``cure``: the command that mends it; None where nothing is
    to be done."""

    level: Level
    subject: str
    text: str
    cure: str | None = None


def ok(subject: str, text: str) -> Finding:
    return Finding("ok", subject, text)


def warning(subject: str, text: str, cure: str) -> Finding:
    return Finding("warning", subject, text, cure)


def fault(subject: str, text: str, cure: str) -> Finding:
    return Finding("fault", subject, text, cure)
