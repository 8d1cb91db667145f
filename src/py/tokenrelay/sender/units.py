"""The text of the systemd units. Pure; what each may do is explained where it is written.

systemd.service(5), systemd.exec(5). The user unit is the usual one: it keeps the user's uid, since
receivers trust that, and sees the same /tmp and /run/user as they do. A user manager cannot make a
view of the file system for it without also mapping uids away, so all of that is left out there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

UNIT_NAME = "tokenrelay.service"
MARK = "# Written by: tokenrelay service install"
SYSTEM_USER = "tokenrelay"
SYSTEM_ENVIRONMENT = {
    "TOKENRELAY_CONFIG": "/etc/tokenrelay/tokenrelay.toml",
    "TOKENRELAY_RUNTIME_DIR": "/run/tokenrelay",
    "TOKENRELAY_STATE_DIR": "/var/lib/tokenrelay",
}
SYSUSERS = f"{MARK}\nu {SYSTEM_USER} - tokenrelay /var/lib/tokenrelay\n"


@dataclass(frozen=True, slots=True)
class Unit:
    """What differs from one installation to the other. ``credentials``: NAME:FILE each."""

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    credentials: Sequence[str] = ()


_SERVICE = """\
[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
ExecReload=kill -HUP $MAINPID
{settings}\
Restart=on-failure
RestartSec=5s
# Usage and configuration: they fail again until somebody mends them.
RestartPreventExitStatus=2 3
# Fed by every account's refresh loop.
WatchdogSec=2min
# A refresh that has reached the provider is finished before the end; where an account's timeout is
# longer than this, the sender asks for more.
TimeoutStopSec=60s
"""
_SANDBOX = """\

# What works for every process, without a view of the file system of its own.
UMask=0077
LimitCORE=0
KeyringMode=private
NoNewPrivileges=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
"""
_SYSTEM_SANDBOX = """\

# A user and a view of the file system of its own.
User={user}
RuntimeDirectory=tokenrelay
RuntimeDirectoryMode=0700
# Sockets of receivers outlive a restart.
RuntimeDirectoryPreserve=yes
StateDirectory=tokenrelay
StateDirectoryMode=0700
ConfigurationDirectory=tokenrelay
CapabilityBoundingSet=
AmbientCapabilities=
DevicePolicy=closed
PrivateDevices=yes
PrivateIPC=yes
PrivateMounts=yes
PrivateTmp=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProtectSystem=strict
RemoveIPC=yes
# Not PrivateUsers: listeners of allow_listener_uids would all be nobody. Not ProcSubset=pid: the
# journal of refreshes needs the machine's boot id, in /proc/sys.
"""
_USER_UNIT = f"""\
{MARK}
# The next one writes over changes made here. Make them with: systemctl --user edit tokenrelay
[Unit]
Description=tokenrelay, keeps OAuth access tokens valid
StartLimitIntervalSec=0

{{service}}\
{_SANDBOX}\

[Install]
WantedBy=default.target
"""
_SYSTEM_UNIT = f"""\
{MARK} --system
# The next one writes over changes made here. Make them with: systemctl edit tokenrelay
[Unit]
Description=tokenrelay, keeps OAuth access tokens valid
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

{{service}}\
{_SANDBOX}\
{_SYSTEM_SANDBOX.format(user=SYSTEM_USER)}\

[Install]
WantedBy=multi-user.target
"""


def user_unit(unit: Unit) -> str:
    """A unit for ``systemctl --user``."""
    return _USER_UNIT.format(service=_service(unit))


def system_unit(unit: Unit) -> str:
    """A unit for the system's manager, with a user of its own."""
    return _SYSTEM_UNIT.format(service=_service(unit))


def credentials_of(text: str) -> tuple[str, ...]:
    """NAME:FILE of each LoadCredential= in the text of a unit."""
    found = re.findall(r"^LoadCredential=(.+)$", text, re.MULTILINE)
    return tuple(one.replace("%%", "%") for one in found)


def _service(unit: Unit) -> str:
    lines = [f"Environment={_quote(f'{k}={v}')}\n" for k, v in unit.environment.items()]
    lines += [f"LoadCredential={_escape_percent(one)}\n" for one in unit.credentials]
    # Variables are expanded in commands, and in commands alone.
    command = " ".join(_quote(word).replace("$", "$$") for word in unit.command)
    return _SERVICE.format(command=command, settings="".join(lines))


def _quote(word: str) -> str:
    """One word as systemd.syntax(7) reads it back, specifiers included."""
    word = _escape_percent(word)
    if re.fullmatch(r"[\w@%+=:,./-]+", word, re.ASCII):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _escape_percent(word: str) -> str:
    return word.replace("%", "%%")
