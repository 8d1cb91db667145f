"""Asks systemd for the state of the sender's units."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tokenrelay.cli.diagnosis.facts import UnitFacts
from tokenrelay.cli.systemctl import Manager, lingers, unit_path, user_name
from tokenrelay.paths import NoHomeError
from tokenrelay.sender.errors import SenderError
from tokenrelay.sender.units import UNIT_NAME, credentials_of

if TYPE_CHECKING:
    from collections.abc import Iterator

PROPERTIES = (
    "LoadState", "ActiveState", "SubState", "UnitFileState", "Result", "ExecMainStatus",
    "NRestarts", "MainPID", "ExecStart", "NeedDaemonReload", "FragmentPath", "DropInPaths",
)  # fmt: skip
ANSWER_SECONDS = 5.0


def gather_units() -> tuple[UnitFacts, ...]:
    """The unit of the user's manager and of the system's; none where there is no systemd."""
    return (*_gather_unit("user"), *_gather_unit("system"))


def _gather_unit(kind: Literal["user", "system"]) -> Iterator[UnitFacts]:
    system = kind == "system"
    manager = Manager(system=system)
    try:
        shown = _show(manager)
    except SenderError as error:
        # Without a unit it does not matter that the manager is not there.
        if _is_written(system=system):
            yield UnitFacts(kind, error=str(error))
        return
    yield UnitFacts(
        kind,
        load=shown["LoadState"],
        active=shown["ActiveState"],
        sub=shown["SubState"],
        enabled=shown["UnitFileState"] or "not enabled",
        result=shown["Result"],
        exit_status=int(shown["ExecMainStatus"]),
        restarts=int(shown["NRestarts"]),
        main_pid=int(shown["MainPID"]),
        # ExecStart={ path=/usr/bin/python3 ; argv[]=… }
        program=shown.get("ExecStart", "").partition("path=")[2].partition(" ;")[0],
        unread_changes=shown["NeedDaemonReload"] == "yes",
        files=(shown["FragmentPath"], *shown["DropInPaths"].split()),
        credentials=_credentials(manager) if shown["LoadState"] == "loaded" else (),
        lingers=system or lingers(user_name()),
    )


def _is_written(*, system: bool) -> bool:
    try:
        return unit_path(system=system).exists()
    except NoHomeError:
        return False


def _show(manager: Manager) -> dict[str, str]:
    properties = ",".join(PROPERTIES)
    text = manager.ask("show", UNIT_NAME, f"--property={properties}", limit=ANSWER_SECONDS)
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _credentials(manager: Manager) -> tuple[str, ...]:
    """NAME:FILE each. `show` prints them as [unprintable]."""
    return credentials_of(manager.ask("cat", UNIT_NAME, limit=ANSWER_SECONDS))
