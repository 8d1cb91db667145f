"""``tokenrelay init``."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tokenrelay.cli.options import ConfigOption, config_path
from tokenrelay.cli.output import note, write


class Preset(StrEnum):
    """The providers `init` knows a template for."""

    schwab = "schwab"
    generic = "generic"


HEAD = """\
# tokenrelay: who refreshes where, and who is fed. Every program of yours that listens
# under an account's name is fed without being named here.
"""

ACCOUNTS = {
    Preset.schwab: """
[accounts.schwab]
provider = "schwab"          # endpoints, 30-minute tokens, 7-day logins
client_id = ""               # the "App Key" of your application at developer.schwab.com
client_secret_file = "~/.config/tokenrelay/schwab.secret"   # holds the "Secret"; chmod 600
# redirect_uri = "https://127.0.0.1:8182"                   # as registered with the application
# refresh_every = "25m"
# warn_before_login_ends = ["24h", "2h"]
# warn_at = ["Sun 18:00"]    # remind then if the login will not last until the next such time
""",
    Preset.generic: """
[accounts.default]
provider = "generic"
token_url = ""               # the provider's token endpoint: https://…
client_id = ""               # the name the provider gave your application
client_secret_file = "~/.config/tokenrelay/default.secret"  # chmod 600
# client_auth = "basic"      # or "post"; "none" for a client without a secret
# rotation_grace = "10s"     # how long a spent refresh token is taken again; "0s": never
# refresh_every = "25m"      # default: 5/6 of the token's life
# login_lifetime = "7d"      # where a login ends however often it is refreshed
""",
}

TAIL = """\
# sockets = ["/tmp/bigbrother_token.sock"]                  # receivers at fixed paths
# mirror = ["~/bots/token.json"]                            # for programs that can only read a file
# include_refresh_token = false
# encrypt = "keyring"        # the token file, at rest; or "credential:NAME" of systemd
# on_event = ["notify-send", "{event}", "{account}"]

[sender]
# log_format = "json"
# log_level = "info"
"""


def init(
    context: typer.Context,
    *,
    provider: Annotated[
        Preset,
        typer.Option(
            "--provider", metavar="PRESET", help="The template to write: schwab or generic."
        ),
    ] = Preset.schwab,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    config: ConfigOption = None,
) -> None:
    """Write a commented configuration file.

    \b
    Example:
      tokenrelay init --provider schwab
    """
    path = config_path(context, config).absolute()
    _write(path, HEAD + ACCOUNTS[provider] + TAIL, force=force)
    account = "schwab" if provider is Preset.schwab else "default"
    write(str(path))
    note(
        f"\nWritten. Next:\n"
        f"  1. fill in the empty values:   ${{EDITOR:-vi}} {path}\n"
        f"     and write the client's secret to the file that it names\n"
        f"  2. log in:                     tokenrelay login {account}\n"
        f"     or bring a login:           tokenrelay import FILE --account {account}\n"
        f"  3. start the sender:           tokenrelay run\n"
    )


def _write(path: Path, text: str, *, force: bool) -> None:
    from tokenrelay.sender.errors import SenderError

    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if force:
        path.unlink(missing_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise SenderError(
            f"{path} is there already and was left as it is. To replace it: tokenrelay init --force"
        ) from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
