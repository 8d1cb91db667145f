"""Judges the sender's units as systemd shows them. Pure."""

from __future__ import annotations

import shlex
import signal
from pathlib import PurePath
from typing import TYPE_CHECKING

from tokenrelay.cli.diagnosis.findings import Finding, fault, ok, warning
from tokenrelay.cli.output import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tokenrelay.cli.diagnosis.facts import Facts, UnitFacts

RUNNING = ("active", "activating", "reloading")
# systemd.exec(5), "Process Exit Codes": those that systemd itself ends with, before our program.
EXEC_FAILED, CREDENTIALS_FAILED, SYSTEMDS_OWN = 203, 243, range(200, 246)


def check_units(facts: Facts) -> Iterator[Finding]:
    found = [unit for unit in facts.units if unit.load != "not-found"]
    for unit in found:
        yield from check_unit(unit, facts)
    if not found and facts.units:
        yield warning(
            "service",
            "no systemd unit: the sender ends with your terminal",
            "tokenrelay service install",
        )


def check_unit(unit: UnitFacts, facts: Facts) -> Iterator[Finding]:
    broken = _judge_loading(unit, facts) or _judge_running(unit)
    found = [broken] if broken else list(_shortcomings(unit, facts))
    yield from found or [ok("service", f"the {unit.manager} unit is active and enabled")]


def running_unit(facts: Facts) -> UnitFacts | None:
    """The user's unit, where it runs."""
    found = (one for one in facts.units if one.manager == "user" and one.active == "active")
    return next(found, None)


def unit_at_rest(facts: Facts) -> UnitFacts | None:
    """The unit that should run a sender and does not; `check_unit` says why."""
    found = (unit for unit in facts.units if unit.load != "not-found")
    return next((unit for unit in found if unit.error or not _runs(unit)), None)


def unit_of(pid: int, facts: Facts) -> UnitFacts | None:
    """The unit that this process runs for."""
    return next((unit for unit in facts.units if unit.main_pid == pid), None)


def systemctl(unit: UnitFacts, *words: str) -> str:
    """The command, for this unit."""
    return " ".join(["systemctl", *_scope(unit), *words, "tokenrelay"])


def with_credentials(facts: Facts, command: str) -> str:
    """The command, given what systemd gives to the user's unit."""
    named = [one for unit in facts.units if unit.manager == "user" for one in unit.credentials]
    options = [f"-p LoadCredential={shlex.quote(one)}" for one in named or ("NAME:FILE",)]
    return " ".join(["systemd-run --user --pty", *options, command])


def _judge_loading(unit: UnitFacts, facts: Facts) -> Finding | None:
    if unit.error is not None:
        return fault(
            "service",
            f"there is a {unit.manager} unit, and no service manager that runs it: {unit.error}",
            f"sudo loginctl enable-linger {facts.user_name}",
        )
    if unit.load == "masked":
        cure = f"{systemctl(unit, 'unmask')}; {_install(unit)}"
        return fault("service", f"the {unit.manager} unit is masked, so it cannot start", cure)
    if unit.load != "loaded":
        verify = " ".join(["systemd-analyze", *_scope(unit), "verify tokenrelay.service"])
        return fault(
            "service",
            f"systemd cannot use the {unit.manager} unit ({unit.load})",
            f"{verify}; {_edit(unit)}",
        )
    return None


def _judge_running(unit: UnitFacts) -> Finding | None:
    if _runs(unit):
        return None
    if unit.active == "failed" or unit.sub == "auto-restart":
        cause, cure = _judge_failure(unit)
        more = "" if unit.active == "failed" else "; systemd tries again and again"
        return fault("service", f"the {unit.manager} unit has failed: {cause}{more}", cure)
    return fault("service", f"the {unit.manager} unit is {unit.active}", systemctl(unit, "start"))


def _judge_failure(unit: UnitFacts) -> tuple[str, str]:
    """Why the last start of it ended, and the cure."""
    code = unit.exit_status
    if unit.result != "exit-code":
        return _describe_end(unit), f"{_log(unit)}; {systemctl(unit, 'restart')}"
    if code == EXEC_FAILED:
        return f"{unit.program} cannot be started; was it moved or removed?", _install(unit)
    if code == CREDENTIALS_FAILED:
        files = " ".join(shlex.quote(one.partition(":")[2]) for one in unit.credentials)
        return (
            f"a file named by LoadCredential= cannot be read: {files}",
            f"ls -l {files}; {systemctl(unit, 'restart')}",
        )
    if code in SYSTEMDS_OWN:
        return f"systemd cannot do what it asks for (exit code {code})", _edit(unit)
    return f"exit code {code}", f"{_log(unit)}; {systemctl(unit, 'restart')}"


def _describe_end(unit: UnitFacts) -> str:
    if unit.result == "signal":
        return f"killed by {signal.Signals(unit.exit_status).name}"
    return unit.result


def _shortcomings(unit: UnitFacts, facts: Facts) -> Iterator[Finding]:
    name = f"the {unit.manager} unit"
    if unit.restarts:
        yield warning(
            "service",
            f"{name} failed, and systemd started it anew, {counted(unit.restarts, 'time')}",
            f"{_log(unit)}; {systemctl(unit, 'reset-failed')}",
        )
    if unit.unread_changes:
        yield warning(
            "service",
            f"{name} was changed on disk, and systemd has not read it since",
            _reload(unit),
        )
    if _is_another_installation(unit, facts):
        yield warning(
            "service",
            f"{name} runs {unit.program}, and this is {facts.interpreter}: an upgrade of the one "
            "leaves the other as it is",
            _install(unit),
        )
    yield from _ends(unit, facts)


def _ends(unit: UnitFacts, facts: Facts) -> Iterator[Finding]:
    """What ends a unit that runs well today."""
    name = f"the {unit.manager} unit"
    if unit.enabled not in ("enabled", "enabled-runtime"):
        yield warning(
            "service",
            f"{name} runs, but will not after the next boot ({unit.enabled})",
            systemctl(unit, "enable"),
        )
    if not unit.lingers:
        cure = f"loginctl enable-linger {facts.user_name}"
        yield warning("service", f"{name} ends when you log out", cure)


def _is_another_installation(unit: UnitFacts, facts: Facts) -> bool:
    # The system's has an installation of its own by design.
    here, there = PurePath(facts.interpreter).parent, PurePath(unit.program).parent
    return unit.manager == "user" and here != there


def _runs(unit: UnitFacts) -> bool:
    return unit.active in RUNNING and unit.sub != "auto-restart"


def _scope(unit: UnitFacts) -> list[str]:
    return ["--user"] if unit.manager == "user" else []


def _install(unit: UnitFacts) -> str:
    if unit.manager == "user":
        return "tokenrelay service install"
    return 'sudo "$(command -v tokenrelay)" service install --system'


def _log(unit: UnitFacts) -> str:
    return " ".join(["journalctl", *_scope(unit), "-u tokenrelay -n 20 --no-pager"])


def _reload(unit: UnitFacts) -> str:
    scope = " ".join(["systemctl", *_scope(unit)])
    return f"{scope} daemon-reload && {systemctl(unit, 'restart')}"


def _edit(unit: UnitFacts) -> str:
    """An editor for what a person wrote: the drop-ins, else the unit."""
    unit_file, *drop_ins = unit.files
    files = " ".join(map(shlex.quote, drop_ins or [unit_file]))
    return f"${{EDITOR:-vi}} {files}; {_reload(unit)}"
