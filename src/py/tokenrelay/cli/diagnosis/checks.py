"""Judges the whole machine: configuration, directories, sender, unit, limits. Pure."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from tokenrelay.cli.diagnosis.account_checks import check_account, check_provider, check_socket
from tokenrelay.cli.diagnosis.findings import Finding, fault, ok, warning
from tokenrelay.cli.diagnosis.unit_checks import (
    check_units,
    running_unit,
    systemctl,
    unit_at_rest,
    unit_of,
    with_credentials,
)
from tokenrelay.cli.output import counted
from tokenrelay.sender.config_text import init_command
from tokenrelay.sender.config_values import MAKE_IT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tokenrelay.cli.diagnosis.facts import (
        ConfigFacts,
        Facts,
        PathFacts,
        Process,
        SenderFacts,
        UnitFacts,
    )

DESCRIPTORS_A_RECEIVER, DESCRIPTORS_SPARE = 1, 100
FEWEST_WATCHES = 16


def check(facts: Facts) -> list[Finding]:
    """Every finding, in the order in which a user would mend them."""
    return [
        *check_versions(facts),
        *check_config(facts),
        *(finding for runtime in facts.runtimes for finding in check_runtime(runtime, facts.user)),
        *check_directories(facts),
        *(finding for account in facts.accounts for finding in check_account(account, facts)),
        *(check_provider(provider) for provider in facts.providers),
        *check_sender(facts),
        *(check_socket(socket, facts) for socket in facts.sockets),
        *check_strays(facts),
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
        yield fault("configuration", f"{path} is not there", init_command(Path(path)))
        return
    if config.file.owner not in (0, facts.user):
        yield fault(
            "configuration",
            f"{path} belongs to user {config.file.owner}, who could redirect your tokens",
            f"sudo chown {facts.user} {quote(path)}",
        )
    if config.file.mode & 0o022:
        yield fault(
            "configuration",
            f"{path} can be written by others (mode {config.file.mode:04o})",
            f"chmod go-w {quote(path)}",
        )
    elif config.lacks_credentials:
        yield warning(
            "configuration",
            f"{path} needs what systemd gives to the unit alone, so no account was examined",
            with_credentials(
                facts, f"{facts.interpreter} -m tokenrelay doctor --config {quote(path)}"
            ),
        )
    elif config.error is not None:
        yield fault("configuration", config.error.partition(MAKE_IT)[0], _edit(config))
    if config.config is not None:
        names = list(config.config.accounts)
        yield ok("configuration", f"{path}: {counted(len(names), 'account')}: {', '.join(names)}")


def check_runtime(runtime: PathFacts, user: int) -> Iterator[Finding]:
    subject, path = "runtime directory", runtime.path
    if runtime.kind == "missing":
        yield ok(subject, f"{path} will be made when it is needed")
    elif runtime.kind != "directory":
        yield fault(subject, f"{path} is in the way: it is no directory", f"rm {quote(path)}")
    elif runtime.owner != user or runtime.link_owner not in (None, 0, user):
        yield fault(
            subject,
            f"{path} belongs to another user, who could take your tokens",
            f"sudo rm -r {quote(path)}",
        )
    elif runtime.mode & 0o077:
        yield fault(
            subject,
            f"{path} is open to others (mode {runtime.mode:04o}), so nothing is delivered there",
            f"chmod 700 {quote(path)}",
        )
    else:
        yield ok(subject, path)


def check_directories(facts: Facts) -> Iterator[Finding]:
    """Those of the accounts; only what is wrong, since they may be a thousand."""
    found = (one for place in facts.directories for one in check_runtime(place, facts.user))
    yield from (finding for finding in found if finding.level != "ok")


def check_strays(facts: Facts) -> Iterator[Finding]:
    """Programs that misspell the account: nobody ever feeds them."""
    names = ", ".join(account.name for account in facts.accounts)
    for stray in facts.strays:
        if stray.listening:
            yield warning(
                f"{stray.account}: receiver",
                f"{stray.path} listens for {stray.account}, an account that the configuration has "
                f"not; it has {names}. Name one of these in the program, or add "
                f"[accounts.{stray.account}]",
                _edit(facts.config),
            )


def check_sender(facts: Facts) -> Iterator[Finding]:
    holder = facts.sender.holder
    if holder is not None:
        yield _judge_sender(holder, facts)
    elif (unit := running_unit(facts)) is not None:
        yield fault(
            "sender",
            f"the {unit.manager} unit's, process {unit.main_pid}, serves other places than those "
            f"that this command looks at: {', '.join(path.path for path in facts.runtimes)}",
            f"{systemctl(unit, 'show -p Environment')}; env | grep TOKENRELAY_",
        )
    elif unit_at_rest(facts) is None:
        yield fault("sender", "none runs, so nobody is served", "tokenrelay run")


def _judge_sender(holder: Process, facts: Facts) -> Finding:
    sender, unit = facts.sender, unit_of(holder.pid, facts)
    name = f"process {holder.pid}"
    if holder.state == "T":
        text = f"{name} is stopped and holds the sender's lock"
        return fault("sender", text, f"kill -CONT {holder.pid}")
    if not sender.answers:
        text = f"{name} ({holder.program}) holds the sender's lock and does not answer"
        return fault("sender", text, _restart(unit) or f"kill {holder.pid}")
    if sender.version != facts.version:
        text = f"{name} is of version {sender.version or 'unknown'}, installed is {facts.version}"
        return fault("sender", text, _restart(unit) or "tokenrelay run --replace")
    if sender.config not in (None, facts.config.file.path):
        text = f"{name} has another configuration than {facts.config.file.path}: {sender.config}"
        return fault("sender", text, f"tokenrelay doctor --config {quote(sender.config)}")
    if (reason := _why_outdated(sender, facts.config)) is not None:
        return fault("sender", f"{name} {reason}", f"kill -HUP {holder.pid}")
    return ok("sender", f"{name} runs and answers")


def _restart(unit: UnitFacts | None) -> str | None:
    """By its service manager, which would not start anew what ends by itself."""
    return None if unit is None else systemctl(unit, "restart")


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
    """An editor at the line that the error names, or on the file that it is about."""
    if command := (config.error or "").partition(MAKE_IT)[2]:
        return command
    path = config.file.path
    line = (config.error or "").removeprefix(f"{path}:").partition(":")[0]
    return f"${{EDITOR:-vi}} {f'+{line} ' if line.isdigit() else ''}{quote(path)}"


def _why_outdated(sender: SenderFacts, config: ConfigFacts) -> str | None:
    """Why it does not go by the configuration as it is now."""
    if config.error is not None and not config.lacks_credentials:
        return None  # it would be refused; what mends it comes first
    if sender.config_error is not None:
        cause = sender.config_error.partition(MAKE_IT)[0]
        return f"refused the changed configuration, the old one stays: {cause}"
    read, changed = sender.configured_at, config.changed_at
    if read is not None and changed is not None and changed > read:
        return "has not read the configuration since it was changed"
    return None
