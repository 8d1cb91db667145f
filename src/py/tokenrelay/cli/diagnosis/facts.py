"""What `gather` finds and `checks` judges. Times are Unix seconds; None: it could not be known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenrelay.sender.config import Config

Kind = Literal["missing", "file", "directory", "socket", "other"]


@dataclass(frozen=True, slots=True)
class PathFacts:
    """What is at a path; ``owner`` and ``mode`` are those of what a symbolic link points to."""

    path: str
    kind: Kind
    owner: int = -1
    mode: int = 0
    link_owner: int | None = None


@dataclass(frozen=True, slots=True)
class Process:
    """A process: ``state`` is the letter of ps(1), T for one that is stopped."""

    pid: int
    program: str
    state: str = "S"


@dataclass(frozen=True, slots=True)
class SocketFacts:
    """A socket file and whether somebody listens there; ``problem``: why it cannot be used."""

    path: str
    account: str
    fixed: bool
    listening: bool
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class LoginFacts:
    """The token file of one account. ``error``: why it cannot be read; ``damaged``: since there is
    no login in it."""

    file: PathFacts
    directory: PathFacts
    directory_writable: bool
    error: str | None = None
    damaged: bool = False
    expires_at: float | None = None
    login_end: float | None = None
    login_warning: str | None = None
    refusal: str | None = None
    lock_holder: Process | None = None


@dataclass(frozen=True, slots=True)
class CallbackFacts:
    """``redirect_uri``: why nothing could listen there, or who does."""

    uri: str | None
    problem: str | None = None
    taken: bool = False
    holder: Process | None = None


@dataclass(frozen=True, slots=True)
class AccountFacts:
    """One account. ``timeout``, ``rotation_grace``: as configured, seconds."""

    name: str
    login: LoginFacts
    callback: CallbackFacts
    timeout: float
    rotation_grace: float
    hook: str | None = None
    hook_found: bool = True
    missing_directories: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProviderFacts:
    """One provider's address. ``clock_ahead``: seconds that our clock is ahead of its ``Date``."""

    url: str
    accounts: tuple[str, ...]
    error: str | None = None
    clock_ahead: float | None = None


@dataclass(frozen=True, slots=True)
class SenderFacts:
    """Who holds the sender's lock, and what it answers. ``unserved``: paths of receivers that
    have not its newest token, and why. ``config_error``: why it refused the configuration when it
    was last told to read it."""

    holder: Process | None = None
    answers: bool = False
    version: str | None = None
    config: str | None = None
    configured_at: float | None = None
    config_error: str | None = None
    unserved: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UnitFacts:
    """The systemd unit of one manager, as systemctl(1) shows it. ``error``: why the manager could
    not be asked; the rest is empty then. ``program``: what ExecStart= starts."""

    manager: Literal["user", "system"]
    load: str = ""
    active: str = ""
    sub: str = ""
    enabled: str = ""
    result: str = ""
    exit_status: int = 0
    restarts: int = 0
    main_pid: int = 0
    program: str = ""
    unread_changes: bool = False
    files: tuple[str, ...] = ()
    credentials: tuple[str, ...] = ()
    lingers: bool = True
    error: str | None = None


@dataclass(frozen=True, slots=True)
class ConfigFacts:
    """The configuration file; ``error`` names key and line. ``lacks_credentials``: that is since
    systemd gives them to the unit alone."""

    file: PathFacts
    error: str | None = None
    lacks_credentials: bool = False
    changed_at: float | None = None
    config: Config | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything. ``watches``: this user's limit of inotify instances; ``descriptors``: of open
    files in one process. ``directories``: where the receivers of each account are. ``strays``:
    receivers of accounts that the configuration has not."""

    now: float
    user: int
    user_name: str
    version: str
    python: str
    interpreter: str
    missing_packages: tuple[str, ...]
    config: ConfigFacts
    runtimes: tuple[PathFacts, ...]
    sender: SenderFacts
    units: tuple[UnitFacts, ...]
    watches: int | None
    descriptors: int
    accounts: tuple[AccountFacts, ...] = ()
    directories: tuple[PathFacts, ...] = ()
    sockets: tuple[SocketFacts, ...] = ()
    strays: tuple[SocketFacts, ...] = ()
    providers: tuple[ProviderFacts, ...] = ()
