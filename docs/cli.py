"""Writes docs/cli.md from the commands themselves: python docs/cli.py"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tokenrelay.cli.app import app

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).with_suffix(".md")
HEAD = """\
<!-- Written by docs/cli.py; a test compares. -->
# Commands

What the `--help` of each command says. Results go to standard output, all else to standard error;
`--json` where there is something to read. The variables `TOKENRELAY_CONFIG`,
`TOKENRELAY_RUNTIME_DIR` and `TOKENRELAY_STATE_DIR` name the configuration file, the directory of
the sockets and that of the token files.

| exit code | means |
|---|---|
| 0 | done |
| 1 | failed |
| 2 | usage |
| 3 | configuration |
| 4 | a login is needed |
| 5 | nobody received |
"""
# Where the examples of a command are run, if not where those of the others are.
RUN_BY = {
    "tokenrelay bench": "tests/installed/test_documents.py",
    "tokenrelay demo": "tests/installed/test_documents.py",
    "tokenrelay import": "tests/py/interop/test_import.py",
    "tokenrelay service install": "tests/systemd/test_documents.py",
    "tokenrelay service uninstall": "tests/systemd/test_documents.py",
}


def page() -> str:
    """The whole page, as the commands are now."""
    return "\n".join([HEAD, *_sections("tokenrelay", typer.main.get_group(app))])


def _sections(path: str, command: Any) -> Iterator[str]:
    for name, one in command.commands.items():
        inner = f"{path} {name}"
        yield from _sections(inner, one) if hasattr(one, "commands") else [_section(inner, one)]


def _section(path: str, command: Any) -> str:
    description, _, example = command.help.partition("\b\nExample:\n")
    examples = [line.removeprefix("  ") for line in example.splitlines()]
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    usage = " ".join([path, "[OPTIONS]", *map(_word, arguments)])
    rows = [_row(one) for one in command.params if one.help]
    mark = [f"<!-- run: by={RUN_BY[path]} -->"] if path in RUN_BY else []
    lines = [f"## {path}", "", description.strip(), "", *mark, "```sh", *examples, "```", ""]
    return "\n".join([*lines, f"| `{usage}` | |", "|---|---|", *rows, ""])


def _word(argument: Any) -> str:
    return argument.metavar if argument.required else f"[{argument.metavar}]"


def _row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"| `{parameter.metavar}` | {parameter.help} |"
    names = ", ".join([*parameter.opts, *parameter.secondary_opts])
    if parameter.is_flag:
        return f"| `{names}` | {parameter.help} |"
    default = f" Default: {parameter.default}." if parameter.default is not None else ""
    return f"| `{names} {parameter.metavar or 'VALUE'}` | {parameter.help}{default} |"


if __name__ == "__main__":
    PAGE.write_text(page())
