"""Printing: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

WIDTH_WITHOUT_TERMINAL = 120  # columns


def write(text: str) -> None:
    """Print a result at once, so that a closed pipe is noticed here and not at exit."""
    print(text, flush=True)


def write_json(value: Any) -> None:
    """Print a result as one line of JSON."""
    write(json.dumps(value))


def console() -> Console:
    """What prints a table: as wide as COLUMNS or a terminal says, else as wide as tables need."""
    from rich.console import Console

    said = os.environ.get("COLUMNS") or any(map(os.isatty, range(3)))
    return Console(width=None if said else WIDTH_WITHOUT_TERMINAL)


def note(text: str) -> None:
    """Tell the user something that is not the result."""
    print(text, file=sys.stderr, flush=True)


def counted(count: int, noun: str) -> str:
    """``"1 account"``, ``"2 accounts"``."""
    return f"{count} {noun}{'s' * (count != 1)}"


def duration(seconds: float) -> str:
    """``"6d 4h"``, ``"24m 10s"``, ``"9s"``: the two largest units that matter."""
    left = max(0, int(seconds))
    parts: list[str] = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])


def short_time(seconds: float) -> str:
    """A latency: ``"8.1 µs"``, ``"1.3 ms"``, ``"2.0 s"``."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.1f} µs"
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def time_of_day(moment: float) -> str:
    """Unix seconds as local time; with the day where it is not today's."""
    local = time.localtime(moment)
    same_day = time.localtime()[:3] == local[:3]
    return time.strftime("%H:%M:%S" if same_day else "%Y-%m-%d %H:%M", local)
