"""``tokenrelay import``."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tokenrelay.cli.options import AccountOption, ConfigOption, JsonOption, read_config
from tokenrelay.cli.output import duration, note, write, write_json
from tokenrelay.sender.errors import SenderError, VaultError

if TYPE_CHECKING:
    from tokenrelay.sender.tokens import TokenSet
    from tokenrelay.sender.vault import Vault

MAXIMUM_IMPORT_BYTES = 65_536
WANTED = 'one JSON object {"access_token": "…", "refresh_token": "…", "expires_at": UNIX_SECONDS}'


def import_file(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="'-' is standard input.", show_default=False)
    ],
    *,
    account: AccountOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a newer or a damaged login.")
    ] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Take over the login of another program.

    FILE holds one JSON object with access_token, refresh_token and expires_at (Unix seconds);
    it may also have issued_at, granted_at, grant_expires_at, token_type and scope.

    \b
    Example:
      tokenrelay import login.json --account schwab
    """
    from tokenrelay.sender.vault import Vault

    chosen = read_config(context, config).select(account)
    token = parse_login(_read(file), "standard input" if str(file) == "-" else str(file))
    if chosen.login_lifetime and token.granted_at and not token.grant_expires_at:
        token = token.replace(grant_expires_at=int(token.granted_at + chosen.login_lifetime))
    vault = Vault(chosen.token_file, token_url=chosen.token_url, client_id=chosen.client_id)
    if not force:
        _check_older(vault, token)
    token = vault.store(token)
    _report(chosen.name, file, vault.path, token, as_json=as_json)


def parse_login(content: bytes, name: str, *, default_expires_at: int | None = None) -> TokenSet:
    """The login in the plain form. SenderError says what is wrong with it."""
    import msgspec

    from tokenrelay.sender.tokens import FIRST_IMPOSSIBLE_SECOND, TokenSet, is_token

    class Login(msgspec.Struct):
        access_token: str
        expires_at: int | float | None = None
        refresh_token: str | None = None
        issued_at: int | None = None
        granted_at: int | None = None
        grant_expires_at: int | None = None
        token_type: str = "Bearer"  # noqa: S105
        scope: str | None = None

    try:
        login = msgspec.json.decode(content, type=Login)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # A message of msgspec names keys and types, never a value.
        raise SenderError(f"{name}: {error}. It must be {WANTED}") from None
    fields: dict[str, Any] = msgspec.structs.asdict(login)
    fields["expires_at"] = fields["expires_at"] or default_expires_at
    if fields["expires_at"] is None:
        raise SenderError(f"{name}: expires_at is missing. It must be {WANTED}")
    for key in ("access_token", "refresh_token"):
        if fields[key] is not None and not is_token(fields[key]):
            raise SenderError(f"{name}: {key} is empty, too long or holds a byte no token may have")
    for key in ("expires_at", "issued_at", "granted_at", "grant_expires_at"):
        if fields[key] is not None and not 0 < fields[key] < FIRST_IMPOSSIBLE_SECOND:
            raise SenderError(f"{name}: {key} is not in Unix seconds. Milliseconds? Divide by 1000")
    if login.token_type.lower() != "bearer":
        raise SenderError(f"{name}: token_type must be Bearer; no other kind can be sent")
    return TokenSet(**{**fields, "expires_at": int(fields["expires_at"])})


def _read(file: Path) -> bytes:
    if str(file) == "-":
        content = sys.stdin.buffer.read(MAXIMUM_IMPORT_BYTES + 1)
    else:
        with file.open("rb") as opened:
            content = opened.read(MAXIMUM_IMPORT_BYTES + 1)
    if len(content) > MAXIMUM_IMPORT_BYTES:
        raise SenderError(f"{file}: over {MAXIMUM_IMPORT_BYTES} bytes. It must be {WANTED}")
    return content


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
        note(f"Stop the program that used it and remove its copy: rm {file}")
    note("Next: tokenrelay run (a running sender takes it up by itself within 30 s)")
