"""Finds the facts of this machine; judges nothing."""

from __future__ import annotations

import os
import platform
import resource
import sys
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenrelay.cli.diagnosis.facts import ConfigFacts, Facts, SenderFacts, SocketFacts
from tokenrelay.cli.diagnosis.gather_accounts import gather_account
from tokenrelay.cli.diagnosis.gather_providers import gather_providers
from tokenrelay.cli.diagnosis.gather_units import gather_units
from tokenrelay.cli.diagnosis.system import describe_path, lock_holder
from tokenrelay.cli.systemctl import user_name
from tokenrelay.paths import runtime_directories
from tokenrelay.sender import control, peers
from tokenrelay.sender.config import load_config
from tokenrelay.sender.errors import ConfigurationError, CredentialsMissing, SenderError
from tokenrelay.sender.socket_names import receivers_in

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from tokenrelay.sender.config import Account, Config

WATCHES = Path("/proc/sys/fs/inotify/max_user_instances")
ANSWER_SECONDS = 3.0


def gather(config_path: Path) -> Facts:
    """Everything about this user's tokenrelay. Asks providers, the sender and systemd; seconds."""
    config, runtimes = _gather_config(config_path), runtime_directories()
    accounts = list(config.config.accounts.values()) if config.config else []
    places = [runtime / account.name for runtime in runtimes for account in accounts]
    return Facts(
        now=time.time(),
        user=os.geteuid(),
        user_name=user_name(),
        version=version("tokenrelay"),
        python=platform.python_version(),
        interpreter=sys.executable,
        missing_packages=tuple(_missing_packages(config.config)),
        config=config,
        runtimes=tuple(map(describe_path, runtimes)),
        sender=_gather_sender(runtimes),
        units=gather_units(),
        watches=_read_number(WATCHES),
        # The sender raises the soft limit to the hard one.
        descriptors=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        accounts=tuple(map(gather_account, accounts)),
        directories=tuple(map(describe_path, places)),
        sockets=tuple(_gather_sockets(runtimes, accounts)),
        strays=tuple(_gather_strays(runtimes, places)) if accounts else (),
        providers=gather_providers(accounts),
    )


def _gather_config(path: Path) -> ConfigFacts:
    file = describe_path(path)
    if file.kind == "missing":
        return ConfigFacts(file)
    changed_at = path.stat().st_mtime
    try:
        return ConfigFacts(file, changed_at=changed_at, config=load_config(path))
    except ConfigurationError as error:
        return ConfigFacts(
            file,
            error=str(error),
            lacks_credentials=isinstance(error, CredentialsMissing),
            changed_at=changed_at,
        )


def _missing_packages(config: Config | None) -> Iterator[str]:
    if config is None:
        return
    if config.sender.metrics is not None and find_spec("prometheus_client") is None:
        yield "prometheus-client"
    sealed = [account for account in config.accounts.values() if account.encrypt == "keyring"]
    if sealed and find_spec("keyring") is None:
        yield "keyring"


def _gather_sender(runtimes: Iterable[Path]) -> SenderFacts:
    for runtime in runtimes:
        holder = lock_holder(runtime / control.LOCK_NAME)
        if holder is None:
            continue
        try:
            reply = control.call({"command": "status"}, timeout=ANSWER_SECONDS,
                                 directories=(runtime,))  # fmt: skip
        except SenderError:
            reply = None
        if reply is None:
            return SenderFacts(holder)
        return SenderFacts(
            holder,
            answers=True,
            version=reply.get("version"),
            config=reply.get("config"),
            configured_at=reply.get("configured_at"),
            config_error=reply.get("config_error"),
            unserved=_unserved(reply.get("accounts", ())),
        )
    return SenderFacts()


def _unserved(accounts: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    receivers = (receiver for account in accounts for receiver in account["receivers"])
    return {one["path"]: one["error"] for one in receivers if one["error"] is not None}


def _gather_sockets(runtimes: Iterable[Path], accounts: Iterable[Account]) -> Iterator[SocketFacts]:
    for account in accounts:
        for path in account.sockets:
            yield _try_socket(path, account.name, account.allow_listener_uids, fixed=True)
        for runtime in runtimes:
            for path in receivers_in(runtime / account.name):
                yield _try_socket(path, account.name, account.allow_listener_uids, fixed=False)


def _gather_strays(runtimes: Iterable[Path], places: Iterable[Path]) -> Iterator[SocketFacts]:
    found = {directory for runtime in runtimes for directory in runtime.glob("*/")}
    for directory in sorted(found.difference(places)):
        for path in receivers_in(directory):
            yield _try_socket(path, directory.name, (), fixed=False)


def _try_socket(path: Path, account: str, uids: Collection[int], *, fixed: bool) -> SocketFacts:
    problem, listening = None, False
    try:
        connection, _, _ = peers.connect(path, uids)
        connection.close()
        listening = True
    except BlockingIOError:
        listening = True
    except (FileNotFoundError, ConnectionRefusedError):
        pass
    except (OSError, peers.UntrustedPeer) as error:
        problem = str(error)
    return SocketFacts(str(path), account, fixed, listening, problem)


def _read_number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
