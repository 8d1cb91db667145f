"""``tokenrelay.toml`` as a file: who may have written it, and where in it a key stands."""

from __future__ import annotations

import os
import tomllib
from shlex import quote
from typing import TYPE_CHECKING, Any

from tokenrelay.paths import NoHomeError, config_file
from tokenrelay.sender.config_values import describe_mode
from tokenrelay.sender.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

MAXIMUM_CONFIG_BYTES = 1 << 20


def read_text(path: Path) -> str:
    """The file's text. ConfigurationError unless it is ours, closed to others and readable."""
    try:
        with path.open("rb") as file:
            _check_owner(path, os.fstat(file.fileno()))
            content = file.read(MAXIMUM_CONFIG_BYTES + 1)
    except FileNotFoundError:
        raise ConfigurationError(f"{path}: no such file; write one: {init_command(path)}") from None
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > MAXIMUM_CONFIG_BYTES:
        raise ConfigurationError(f"{path}: over {MAXIMUM_CONFIG_BYTES} bytes: not a configuration")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: not UTF-8 at byte {error.start}") from None


def init_command(path: Path) -> str:
    """What to type to have a configuration at ``path``."""
    return f"{command_with(path)} init"


def command_with(path: Path) -> str:
    """How each command begins that is to use the configuration at ``path``."""
    return "tokenrelay" if _is_usual(path) else f"tokenrelay --config {quote(str(path))}"


def _is_usual(path: Path) -> bool:
    try:
        return path == config_file()
    except NoHomeError:
        return False


def _check_owner(path: Path, status: os.stat_result) -> None:
    # Who can write the file chooses where tokens go. Root can do that anyway.
    if status.st_uid not in (0, os.geteuid()):
        raise ConfigurationError(
            f"{path}: belongs to user {status.st_uid}, who could redirect your tokens; "
            f"make it yours: chown {os.geteuid()} {quote(str(path))}"
        )
    if status.st_mode & 0o022:
        mode = describe_mode(status)
        raise ConfigurationError(
            f"{path}: others may write it (mode {mode}): chmod go-w {quote(str(path))}"
        )


def find_line(text: str, keys: tuple[str, ...]) -> int | None:
    """The line, from 1, where ``keys`` is written, or the table that lacks it.

    tomllib keeps no positions but parses prefixes: the shortest that holds the key ends with it.
    Those of the key's own table will do, and with many accounts take far less time.
    """
    for first, lines in _tables(text.splitlines(keepends=True)):
        if _holds(_parse(lines), keys):
            return first + _find_statement(lines, keys)
    return find_line(text, keys[:-1]) if len(keys) > 1 else None


def _tables(lines: list[str]) -> Iterator[tuple[int, list[str]]]:
    """The lines of each table, after the number of the first; before them those of no table."""
    begin = 0
    for end in range(1, len(lines) + 1):
        if end < len(lines) and not lines[end].lstrip().startswith("["):
            continue
        # Not every "[" begins a table: within a string or an array what is before does not parse.
        if _parse(lines[begin:end]) is not None:
            yield begin + 1, lines[begin:end]
            begin = end


def _find_statement(lines: list[str], keys: tuple[str, ...]) -> int:
    """The index of the first line of the statement after which ``lines`` hold ``keys``."""
    begin = 0
    for end in range(1, len(lines)):
        document = _parse(lines[:end])
        if _holds(document, keys):
            break
        if document is not None:
            begin = end
    return begin


def _parse(lines: list[str]) -> dict[str, Any] | None:
    try:
        return tomllib.loads("".join(lines))
    except tomllib.TOMLDecodeError:
        return None


def _holds(document: Any, keys: Iterable[str]) -> bool:
    for key in keys:
        if not isinstance(document, dict) or key not in document:
            return False
        document = document[key]
    return True
