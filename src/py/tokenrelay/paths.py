"""Names of accounts and places of files, as CONTRACT fixes them; standard library only.

The resolvers are pure functions of an `Environment`; the C++ library resolves the same way and
both are tested by ``tests/vectors/paths.json``. Follows the XDG Base Directory Specification.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ACCOUNT_PATTERN = r"[a-z0-9][a-z0-9_-]{0,31}"
"""The whole of an account's name: it names directories and files."""


class NoHomeError(ValueError):
    """A path below the home is wanted, and there is no home."""


@dataclass(frozen=True, slots=True)
class Environment:
    """All that the resolvers look at. Its ``repr`` leaves out what may hold others' secrets.

    Attributes:
        variables: the process's environment.
        uid: the user's number.
        home: the user's home; None where there is none. A receiver needs none.
        exists: whether a path is a directory.
    """

    variables: Mapping[str, str]
    uid: int
    home: Path | None
    exists: Callable[[str], bool]

    @classmethod
    def current(cls) -> Environment:
        """This process. The home is ``$HOME``, else the user database's."""
        # Path.home() raises for a user without a home; this one leaves "~" as it is.
        home = os.path.expanduser("~")  # noqa: PTH111
        # A relative one would lead into the current folder.
        known = Path(home) if home.startswith("/") else None
        return cls(os.environ, os.getuid(), known, os.path.isdir)

    def __repr__(self) -> str:
        return f"Environment(uid={self.uid}, home={str(self.home)!r})"


def check_account(name: str) -> str:
    """``name`` itself if it is an account's name: `ACCOUNT_PATTERN`.

    Raises:
        ValueError: with the rule.
    """
    if re.fullmatch(ACCOUNT_PATTERN, name) is None:
        raise ValueError(
            f"account name {name!r}: use 1 to 32 of a-z 0-9 _ - , beginning with a letter or digit"
        )
    return name


def runtime_directory(env: Environment | None = None) -> Path:
    """Where a receiver binds its socket: the first of `runtime_directories`.

    None stands for `Environment.current`, here and below. Nothing is made or checked.
    """
    return runtime_directories(env)[0]


def runtime_directories(env: Environment | None = None) -> tuple[Path, ...]:
    """Every place where receivers of this user may be, a receiver's own first.

    A cron job has no ``XDG_RUNTIME_DIR`` and a program started before the first login finds no
    ``/run/user/UID``, so all that apply count. ``TOKENRELAY_RUNTIME_DIR`` stands alone.
    """
    env = env or Environment.current()
    if own := env.variables.get("TOKENRELAY_RUNTIME_DIR"):
        return (Path(own),)
    found: list[Path] = []
    if base := _xdg(env, "XDG_RUNTIME_DIR"):
        found.append(base / "tokenrelay")
    if env.exists(f"/run/user/{env.uid}"):
        found.append(Path(f"/run/user/{env.uid}/tokenrelay"))
    found.append(Path(f"/tmp/tokenrelay-{env.uid}"))  # noqa: S108
    return tuple(dict.fromkeys(found))


def home_directory(env: Environment | None = None) -> Path:
    """The user's home.

    Raises:
        NoHomeError: there is none; with the cure.
    """
    env = env or Environment.current()
    if env.home is None:
        raise NoHomeError(
            "no home directory: set HOME, or TOKENRELAY_CONFIG and TOKENRELAY_STATE_DIR"
        )
    return env.home


def state_directory(env: Environment | None = None) -> Path:
    """Where token files are: ``$TOKENRELAY_STATE_DIR``, else XDG's, ``~/.local/state``.

    Raises:
        NoHomeError: it is below the home, and there is none.
    """
    env = env or Environment.current()
    if own := env.variables.get("TOKENRELAY_STATE_DIR"):
        return Path(own)
    base = _xdg(env, "XDG_STATE_HOME") or home_directory(env) / ".local/state"
    return base / "tokenrelay"


def config_file(env: Environment | None = None, option: Path | None = None) -> Path:
    """The configuration file: the option, the variable, else XDG's; never the current folder.

    Raises:
        NoHomeError: it is below the home, and there is none.
    """
    env = env or Environment.current()
    if option is not None:
        return option
    if own := env.variables.get("TOKENRELAY_CONFIG"):
        return Path(own)
    base = _xdg(env, "XDG_CONFIG_HOME") or home_directory(env) / ".config"
    return base / "tokenrelay" / "tokenrelay.toml"


def ensure_private_directory(path: Path) -> Path:
    """``path`` as a directory of ours with mode 0700, made where missing.

    A symbolic link counts only if we or root made it: in /tmp anybody can leave one.

    Raises:
        PermissionError: it belongs to another user, or is open to others; with the cure.
        NotADirectoryError: something else is in its place.
        OSError: it cannot be made.
    """
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        pass
    except FileNotFoundError:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
    _check_private(path)
    return path


def _check_private(path: Path) -> None:
    user = os.geteuid()
    link, target = path.lstat(), path.stat()
    if not stat.S_ISDIR(target.st_mode):
        raise NotADirectoryError(f"{path} is not a directory: remove it, or choose another place")
    if target.st_uid != user or link.st_uid not in (0, user):
        owner = target.st_uid if target.st_uid != user else link.st_uid
        raise PermissionError(
            f"{path} belongs to user {owner}, not to user {user}, who could read or replace what "
            "is in it: have it removed, or choose another place"
        )
    if target.st_mode & 0o077:
        mode = stat.S_IMODE(target.st_mode)
        raise PermissionError(
            f"{path} is open to others (mode {mode:04o}): chmod 700 {quote(str(path))}"
        )


def _xdg(env: Environment, name: str) -> Path | None:
    value = env.variables.get(name, "")
    # The specification has relative values ignored.
    return Path(value) if value.startswith("/") else None
