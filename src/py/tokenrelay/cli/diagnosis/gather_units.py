"""Asks systemd for the state of the sender's units."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Literal

from tokenrelay.cli.diagnosis.facts import UnitFacts
from tokenrelay.sender.units import UNIT_NAME

if TYPE_CHECKING:
    from collections.abc import Sequence

PROPERTIES = ("LoadState", "ActiveState", "UnitFileState", "Result")
ANSWER_SECONDS = 5.0


def gather_units() -> tuple[UnitFacts, ...]:
    """The unit of the user's manager and of the system's; none where there is no systemd."""
    found = (_gather_unit("user"), _gather_unit("system"))
    return tuple(unit for unit in found if unit is not None)


def _gather_unit(manager: Literal["user", "system"]) -> UnitFacts | None:
    names = ",".join(PROPERTIES)
    shown = _ask(["systemctl", f"--{manager}", "show", UNIT_NAME, f"--property={names}"])
    if not {"LoadState", "ActiveState"} <= shown.keys():
        return None
    user = _ask(["loginctl", "show-user", str(os.geteuid()), "--property=Linger"])
    return UnitFacts(
        manager,
        load=shown["LoadState"],
        active=shown["ActiveState"],
        enabled=shown.get("UnitFileState") or "not enabled",
        result=shown.get("Result", ""),
        lingers=user.get("Linger") != "no",
    )


def _ask(command: Sequence[str]) -> dict[str, str]:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
