"""The kinds of values ``tokenrelay.toml`` holds, each a function that checks one; ValueError says
what is wrong and what to write instead."""

from __future__ import annotations

import ipaddress
import os
import re
import stat
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from tokenrelay.paths import Environment

DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
LONGEST_DURATION = 36_500 * 86_400.0  # what is now and that is still Unix seconds to all
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
CREDENTIALS = "$CREDENTIALS_DIRECTORY/"
MAXIMUM_SECRET_BYTES = 65_536
MAKE_IT = "; make it: "
"""Stands in an error before the command that makes the file it is about."""
MAXIMUM_SOCKET_PATH_BYTES = 107  # sockaddr_un, unix(7)


class NoCredentialsDirectoryError(ValueError):
    """systemd gave this process no credentials."""


def parse_duration(text: str) -> float:
    """Seconds of ``"25m"``, ``"10s"``, ``"24h"``, ``"7d"``, ``"500ms"``."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,6})?)(ms|s|m|h|d)", text, re.ASCII)
    if match is None:
        raise ValueError(f'{text!r} is no duration: write a number and ms, s, m, h or d, as "25m"')
    seconds = float(match[1]) * DURATION_UNITS[match[2]]
    if seconds > LONGEST_DURATION:
        raise ValueError(f"{text!r}: must be at most 36500d")
    return seconds


def parse_positive_duration(text: str) -> float:
    """As `parse_duration`, but zero is refused."""
    seconds = parse_duration(text)
    if seconds == 0:
        raise ValueError(f"{text!r}: must be more than zero")
    return seconds


def parse_weekly(text: str) -> tuple[int, int, int]:
    """Weekday (Monday 0), hour and minute of ``"Sun 18:00"``."""
    match = re.fullmatch(r"([A-Z][a-z]{2}) ([01]\d|2[0-3]):([0-5]\d)", text, re.ASCII)
    if match is None or match[1] not in WEEKDAYS:
        raise ValueError(f'{text!r} is no time of the week: write it as "Sun 18:00"')
    return WEEKDAYS.index(match[1]), int(match[2]), int(match[3])


def check_endpoint(url: str) -> str:
    """``url`` itself if it is https, or http on loopback."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"not a URL: {error}") from None
    if not host or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("not a URL: write it as https://HOST/PATH")
    if parts.username is not None or parts.fragment:
        raise ValueError("an endpoint has no user name and no fragment")
    if parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host)):
        return url
    raise ValueError("must be https, or http on loopback: the token would travel readable")


def split_address(text: str) -> tuple[str, int]:
    """Host and port of ``"127.0.0.1:9464"`` or ``"[::1]:9464"``."""
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError('write an address and a port, as "127.0.0.1:9464"')
    return host.removeprefix("[").removesuffix("]"), int(port)


def check_metrics(text: str, env: Environment) -> str:
    """The setting ``metrics``: an address and a port, or a socket's path, made absolute."""
    if text.startswith(("/", "~")):
        return str(socket_path(text, env))
    split_address(text)
    return text


def absolute_path(text: str, env: Environment) -> Path:
    """An absolute path; ``~/`` is the home, ``$CREDENTIALS_DIRECTORY/`` where systemd puts what
    LoadCredential= names. Relative ones depend on who starts us: refused."""
    if text.startswith(CREDENTIALS):
        return _credentials_directory(env) / text.removeprefix(CREDENTIALS)
    if text.startswith("~/"):
        if env.home is None:
            raise ValueError(f"{text!r}: no home directory: set HOME, or write an absolute path")
        return env.home / text[2:]
    if not text.startswith("/") or "\0" in text:
        raise ValueError(f"{text!r}: write an absolute path, or one that begins with ~/")
    return Path(text)


def _credentials_directory(env: Environment) -> Path:
    directory = env.variables.get("CREDENTIALS_DIRECTORY")
    if not directory:
        raise NoCredentialsDirectoryError(
            "systemd credentials are there for its units alone: run this by systemd-run --user "
            "--pty -p LoadCredential=NAME:FILE, or see tokenrelay service install --help"
        )
    return Path(directory)


def socket_path(text: str, env: Environment) -> Path:
    """As `absolute_path`, and short enough for a Unix socket."""
    path = absolute_path(text, env)
    length = len(os.fsencode(path))
    if length > MAXIMUM_SOCKET_PATH_BYTES:
        raise ValueError(
            f"{length} bytes: a socket's path has at most {MAXIMUM_SOCKET_PATH_BYTES}; shorten it"
        )
    return path


def read_secret(path: Path, *, by_hand: bool = True) -> str:
    """The text of a file that nobody else may write, without its last newline; ``by_hand``: that
    the user makes."""
    quoted = quote(str(path))
    first = "" if path.parent.is_dir() else f"mkdir -p {quote(str(path.parent))}; "
    command = f"(umask 077; {first}${{EDITOR:-vi}} {quoted})"
    cure = f"{MAKE_IT}{command}" if by_hand else ""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if status.st_mode & 0o022 or status.st_uid not in (0, os.geteuid()):
                raise ValueError(
                    f"{path} can be written by others: chown {os.geteuid()} {quoted}; "
                    f"chmod 600 {quoted}"
                )
            text = file.read(MAXIMUM_SECRET_BYTES).decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8") from None
    except FileNotFoundError:
        raise ValueError(f"{path} is not there{cure}") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    secret = text.removesuffix("\n").removesuffix("\r")
    if not is_credential(secret):
        raise ValueError(f"{path} is empty, or holds a control character{cure}")
    return secret


def is_credential(text: str) -> bool:
    """Whether it can be an id or a secret."""
    return bool(text.strip()) and text.isprintable()


def describe_mode(status: os.stat_result) -> str:
    """The permission bits as chmod(1) takes them."""
    return f"{stat.S_IMODE(status.st_mode):04o}"


def is_loopback(host: str) -> bool:
    """Whether a URL's host is this machine: nobody on the way can read what goes there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
