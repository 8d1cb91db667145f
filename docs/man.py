"""Writes docs/tokenrelay.1, the manual page, from the commands themselves: python docs/man.py"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tokenrelay.cli.app import app

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).with_name("tokenrelay.1")
HEAD = r""".\" Written by docs/man.py; a test compares.
.TH TOKENRELAY 1
.SH NAME
tokenrelay \- every program on this host always holds a valid OAuth access token
.SH SYNOPSIS
.B tokenrelay
.RI [ options ]
.I command
.RI [ arguments ]
.SH DESCRIPTION
One sender process refreshes the token of each account. Every program on the host receives each new
one over a Unix socket, without a restart, without a lock and without ever seeing the refresh token.
.SH COMMANDS
"""
TAIL = r""".SH EXIT STATUS
0 done, 1 failed, 2 usage, 3 configuration, 4 a login is needed, 5 nobody received.
.SH ENVIRONMENT
.TP
.B TOKENRELAY_CONFIG
The configuration, where no
.B \-\-config
is given.
.TP
.B TOKENRELAY_RUNTIME_DIR
Where receivers and the sender find each other.
.TP
.B TOKENRELAY_STATE_DIR
Where the logins are kept.
.SH FILES
.TP
.I ~/.config/tokenrelay/tokenrelay.toml
The configuration; a commented one is written by
.BR "tokenrelay init" .
.TP
.I ~/.local/state/tokenrelay/
The logins, each in a file that only its owner can read.
.TP
.I /run/user/UID/tokenrelay/
The sockets.
"""


def page() -> str:
    """The whole page, in the language of man(7), as the commands are now."""
    return HEAD + "".join(_sections("tokenrelay", typer.main.get_group(app))) + TAIL


def _sections(path: str, command: Any) -> Iterator[str]:
    for name, one in command.commands.items():
        inner = f"{path} {name}"
        yield from _sections(inner, one) if hasattr(one, "commands") else [_section(inner, one)]


def _section(path: str, command: Any) -> str:
    plain = (one for one in command.params if one.param_type_name != "option")
    lines = [f".SS {' '.join([path, *map(_argument, plain)])}", *_text(command.help)]
    for option in command.params:
        if option.param_type_name == "option":
            lines += [".TP", *_option(option)]
    return "\n".join(lines) + "\n"


def _argument(argument: Any) -> str:
    return str(argument.metavar) if argument.required else f"[{argument.metavar}]"


def _option(option: Any) -> list[str]:
    names = ", ".join([*option.opts, *option.secondary_opts])
    value = "" if option.is_flag else f" {option.metavar or 'N'}"
    return [f".B {_escaped(names + value)}", _escaped(option.help or "")]


def _text(text: str) -> Iterator[str]:
    """Paragraphs; those after a line of ``\\b`` keep their lines."""
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        if paragraph.startswith("\b"):
            yield from (".PP", ".nf", *map(_escaped, paragraph.splitlines()[1:]), ".fi")
        else:
            yield from (".PP", _escaped(" ".join(paragraph.split())))


def _escaped(text: str) -> str:
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    escaped = re.sub(r"[^\x00-\x7f]", lambda found: f"\\[u{ord(found[0]):04X}]", escaped)
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


if __name__ == "__main__":
    PAGE.write_text(page())
