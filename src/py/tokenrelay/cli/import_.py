"""``tokenrelay import``."""

from __future__ import annotations

import sys
import time
from functools import partial
from getpass import getpass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from tokenrelay.cli.options import AccountOption, ConfigOption, JsonOption, read_config
from tokenrelay.cli.output import duration, note, write, write_json
from tokenrelay.sender.errors import SenderError, VaultError

if TYPE_CHECKING:
    from tokenrelay.sender.tokens import TokenSet
    from tokenrelay.sender.vault import Vault

MAXIMUM_IMPORT_BYTES = 65_536


def import_file(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="'-' is standard input.", show_default=False)
    ],
    *,
    account: AccountOption = None,
    key_file: Annotated[
        Path | None,
        typer.Option(
            "--key-file",
            metavar="KEY",
            help="Holds the Fernet key of an encrypted Schwabdev database. Else it is asked for.",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a newer or a damaged login.")
    ] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Take over the login of another program.

    FILE is schwab-py's token file, Schwabdev's tokens.db, or one JSON object with access_token,
    refresh_token and expires_at (Unix seconds) and maybe issued_at, granted_at,
    grant_expires_at, token_type and scope. Which one is told by its content.

    \b
    Example:
      tokenrelay import ~/schwab-token.json --account schwab
      tokenrelay import ~/.schwabdev/tokens.db --account schwab
    """
    from tokenrelay.sender.vault import Vault

    chosen = read_config(context, config).select(account)
    token = _read_login(file, key_file)
    if chosen.login_lifetime and token.granted_at and not token.grant_expires_at:
        token = token.replace(grant_expires_at=int(token.granted_at + chosen.login_lifetime))
    vault = Vault.of(chosen)
    if not force:
        _check_older(vault, token)
    token = vault.store(token)
    _report(chosen.name, file, vault.path, token, as_json=as_json)


def _read_login(file: Path, key_file: Path | None) -> TokenSet:
    from tokenrelay.sender.foreign_files import is_database, parse_login, read_database

    if str(file) == "-":
        return parse_login(_read(sys.stdin.buffer, "standard input"), "standard input")
    with file.open("rb") as opened:
        start = opened.read(16)
        if not is_database(start):
            return parse_login(start + _read(opened, str(file)), str(file))
    return read_database(file, partial(_ask_key, file, key_file))


def _read(stream: BinaryIO, name: str) -> bytes:
    content = stream.read(MAXIMUM_IMPORT_BYTES + 1)
    if len(content) > MAXIMUM_IMPORT_BYTES:
        raise SenderError(f"{name}: over {MAXIMUM_IMPORT_BYTES} bytes: no login is that long")
    return content


def _ask_key(file: Path, key_file: Path | None) -> str:
    """The key never comes by an argument or a variable, where other processes could see it."""
    from tokenrelay.sender.config_values import read_secret

    if key_file is not None:
        try:
            return read_secret(key_file, by_hand=False)
        except ValueError as error:
            raise SenderError(str(error)) from None
    if not sys.stdin.isatty():
        raise SenderError(f"{file}: is encrypted. Name the file that holds its key: --key-file KEY")
    return getpass(f"Key of {file} (Fernet, not shown): ")


def _check_older(vault: Vault, token: TokenSet) -> None:
    try:
        stored = vault.load()
    except VaultError as error:
        raise SenderError(f"{error}. To set it aside and import: --force") from None
    if stored is None or stored.access_token == token.access_token:
        return
    if stored.granted_at and token.granted_at:
        newer = (stored.granted_at, stored.expires_at) > (token.granted_at, token.expires_at)
    else:
        newer = stored.expires_at > token.expires_at
    if newer:
        raise SenderError(
            f"{vault.path} holds a newer login, which the import would destroy. "
            "If you are sure: --force"
        )


def _report(account: str, file: Path, path: Path, token: TokenSet, *, as_json: bool) -> None:
    left = token.expires_at - time.time()
    if as_json:
        write_json(
            {
                "account": account,
                "token_file": str(path),
                "serial": token.serial,
                "expires_at": token.expires_at,
                "grant_expires_at": token.grant_expires_at,
                "refreshable": token.refresh_token is not None,
            }
        )
    else:
        state = f"valid for {duration(left)}" if left > 0 else "expired, to be refreshed"
        write(f"{account}: imported into {path}; the access token is {state}")
    if token.refresh_token is None:
        note(f"There is no refresh_token in {file}: the login ends with this access token.")
    elif str(file) != "-":
        note(f"Stop the program that used it and remove its copy: rm {quote(str(file))}")
        note("How that program gets its tokens from now on: docs/coming-from.md")
    note("Next: tokenrelay run (a running sender takes it up by itself within 30 s)")
