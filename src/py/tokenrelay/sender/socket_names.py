"""Names of discovered sockets: PROGRAM-PID-RANDOM.sock, hidden by a dot until they listen."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def is_receiver(name: str) -> bool:
    """Return whether a file of this name may be a receiver that listens."""
    return name.endswith(".sock") and not name.startswith(".")


def receivers_in(directory: Path) -> list[Path]:
    """Return the sockets of receivers, by name; none where there is no such directory."""
    try:
        return sorted(path for path in directory.iterdir() if is_receiver(path.name))
    except OSError:
        return []


def program_of(path: Path) -> str | None:
    """Return PROGRAM; None for a name of another form."""
    parts = path.stem.rsplit("-", 2)
    return parts[0] if len(parts) == 3 else None


def pid_of(path: Path) -> int | None:
    """Return PID, which may have ended, or live in another pid namespace."""
    parts = path.stem.rsplit("-", 2)
    return int(parts[1]) if len(parts) == 3 and parts[1].isdecimal() else None
