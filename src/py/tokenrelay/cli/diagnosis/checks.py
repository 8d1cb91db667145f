"""Judges the whole machine: configuration, directories, sender, unit, limits. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenrelay.cli.diagnosis.account_checks import check_account, check_provider, check_socket
from tokenrelay.cli.diagnosis.findings import Finding, fault, ok, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tokenrelay.cli.diagnosis.facts import ConfigFacts, Facts, PathFacts, UnitFacts

DESCRIPTORS_A_RECEIVER, DESCRIPTORS_SPARE = 1, 100
FEWEST_WATCHES = 16


def check(facts: Facts) -> list[Finding]:
    """Every finding, in the order in which a user would mend them."""
    return [
        *check_versions(facts),
        *check_config(facts),
        *(finding for runtime in facts.runtimes for finding in check_runtime(runtime, facts.user)),
        *(finding for account in facts.accounts for finding in check_account(account, facts)),
        *(check_provider(provider) for provider in facts.providers),
        *check_sender(facts),
        *(check_socket(socket) for socket in facts.sockets),
        *check_units(facts),
        *check_limits(facts),
    ]


def check_versions(facts: Facts) -> Iterator[Finding]:
    for package in facts.missing_packages:
        yield fault(
            "versions",
            f"the configuration needs the package {package}, which is not installed",
            f"pip install {package}",
        )
    yield ok("versions", f"tokenrelay {facts.version}, Python {facts.python}")


def check_config(facts: Facts) -> Iterator[Finding]:
    config = facts.config
    path = config.file.path
    if config.file.kind == "missing":
        yield fault("configuration", f"{path} is not there", "tokenrelay init")
        return
    if config.file.owner not in (0, facts.user):
        yield fault(
            "configuration",
            f"{path} belongs to user {config.file.owner}, who could redirect your tokens",
            f"sudo chown {facts.user} {path}",
        )
    if config.file.mode & 0o022:
        yield fault(
            "configuration",
            f"{path} can be written by others (mode {config.file.mode:04o})",
            f"chmod go-w {path}",
        )
    elif config.error is not None:
        yield fault("configuration", config.error, _edit(config))
    if config.config is not None:
        names = ", ".join(config.config.accounts)
        yield ok("configuration", f"{path}: {len(config.config.accounts)} accounts: {names}")


def check_runtime(runtime: PathFacts, user: int) -> Iterator[Finding]:
    subject, path = "runtime directory", runtime.path
    if runtime.kind == "missing":
        yield ok(subject, f"{path} will be made when it is needed")
    elif runtime.kind != "directory":
        yield fault(subject, f"{path} is in the way: it is no directory", f"rm {path}")
    elif runtime.owner != user or runtime.link_owner not in (None, 0, user):
        yield fault(
            subject,
            f"{path} belongs to another user, who could take your tokens",
            f"sudo rm -r {path}",
        )
    elif runtime.mode & 0o077:
        yield fault(
            subject,
            f"{path} is open to others (mode {runtime.mode:04o}), so nothing is delivered there",
            f"chmod 700 {path}",
        )
    else:
        yield ok(subject, path)


def check_sender(facts: Facts) -> Iterator[Finding]:
    sender = facts.sender
    holder = sender.holder
    if holder is None:
        yield fault("sender", "none runs, so nobody is served", "tokenrelay run")
    elif holder.state == "T":
        yield fault(
            "sender",
            f"process {holder.pid} is stopped and holds the sender's lock",
            f"kill -CONT {holder.pid}",
        )
    elif not sender.answers:
        yield fault(
            "sender",
            f"process {holder.pid} ({holder.program}) holds the sender's lock and does not answer",
            f"kill {holder.pid}",
        )
    elif sender.version != facts.version:
        yield fault(
            "sender",
            f"process {holder.pid} is of version {sender.version or 'unknown'}, "
            f"installed is {facts.version}",
            "tokenrelay run --replace",
        )
    elif _outdated(facts):
        yield fault(
            "sender",
            f"process {holder.pid} has not read the configuration since it was changed",
            f"kill -HUP {holder.pid}",
        )
    else:
        yield ok("sender", f"process {holder.pid} runs and answers")


def check_units(facts: Facts) -> Iterator[Finding]:
    found = [unit for unit in facts.units if unit.load == "loaded"]
    for unit in found:
        yield from check_unit(unit)
    if not found and facts.units:
        yield warning(
            "service",
            "no systemd unit: the sender ends with your terminal",
            "tokenrelay service install",
        )


def check_unit(unit: UnitFacts) -> Iterator[Finding]:
    option = "--user " if unit.manager == "user" else ""
    if unit.active == "failed":
        yield fault(
            "service",
            f"the {unit.manager} unit has failed ({unit.result})",
            f"journalctl {option}-u tokenrelay -n 50",
        )
    elif unit.active not in ("active", "activating", "reloading"):
        yield fault(
            "service",
            f"the {unit.manager} unit is {unit.active}",
            f"systemctl {option}start tokenrelay",
        )
    elif unit.enabled not in ("enabled", "enabled-runtime"):
        yield warning(
            "service",
            f"the {unit.manager} unit runs, but will not after the next boot ({unit.enabled})",
            f"systemctl {option}enable tokenrelay",
        )
    elif unit.manager == "user" and not unit.lingers:
        yield warning("service", "the user unit ends when you log out", "loginctl enable-linger")
    else:
        yield ok("service", f"the {unit.manager} unit is active and enabled")


def check_limits(facts: Facts) -> Iterator[Finding]:
    if facts.watches is not None and facts.watches < FEWEST_WATCHES:
        yield warning(
            "limits",
            f"only {facts.watches} inotify instances a user: new receivers are found late",
            "sudo sysctl fs.inotify.max_user_instances=1024",
        )
    needed = DESCRIPTORS_SPARE + DESCRIPTORS_A_RECEIVER * len(facts.sockets)
    if facts.descriptors < needed:
        yield fault(
            "limits",
            f"a process may open {facts.descriptors} files, and these receivers need {needed}",
            f"ulimit -n {2 * needed}",
        )
    if facts.descriptors >= needed:
        yield ok("limits", f"{facts.descriptors} open files, {facts.watches} inotify instances")


def _edit(config: ConfigFacts) -> str:
    """An editor at the line, where the error names it."""
    path = config.file.path
    line = (config.error or "").removeprefix(f"{path}:").partition(":")[0]
    return f"${{EDITOR:-vi}} +{line} {path}" if line.isdigit() else f"${{EDITOR:-vi}} {path}"


def _outdated(facts: Facts) -> bool:
    read, changed = facts.sender.configured_at, facts.config.changed_at
    return read is not None and changed is not None and changed > read
