"""The manual page, made from the help of the commands: ``python -m tokenrelay.cli.manual``.

Its output is kept as docs/tokenrelay.1, from where it is installed; a test compares the two.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import typer

from tokenrelay.cli.app import app

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD = r""".\" Made by python -m tokenrelay.cli.manual
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


def manual() -> str:
    """The page, in the language of man(7)."""
    group: Any = typer.main.get_command(app)
    sections = (_command(name, command) for name, command in group.commands.items())
    return HEAD + "".join(sections) + TAIL


def _command(name: str, command: Any) -> str:
    plain = (one for one in command.params if one.param_type_name != "option")
    arguments = " ".join(map(_argument, plain))
    lines = [f".SS tokenrelay {name} {arguments}".rstrip(), *_text(command.help)]
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
    print(manual(), end="")
