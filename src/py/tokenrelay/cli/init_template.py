"""The configuration file that `tokenrelay init` writes. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from tokenrelay.sender.presets import PRESETS

Provider = Literal["schwab", "generic"]

HEAD = """\
# tokenrelay: who refreshes where, and who is fed. Every program of yours that listens
# under an account's name is fed without being named here.
"""

SCHWAB = """
[accounts.schwab]
provider = "schwab"          # endpoints, 30-minute tokens, 7-day logins
client_id = {client_id}               # the "App Key" of your application at developer.schwab.com
client_secret_file = {secret_file}   # holds the "Secret"; chmod 600
# redirect_uri = {callback}                   # as registered with the application
# refresh_every = "25m"
"""

GENERIC = """
[accounts.default]
provider = "generic"
issuer = {issuer}            # its endpoints are found there; or give token_url, authorize_url …
client_id = {client_id}      # the name the provider gave your application
{secret}
redirect_uri = {callback}             # as registered with the application
scopes = ["openid", "offline_access"]                       # offline_access: a refresh token
# token_url = "https://provider.example/token"
# authorize_url = "https://provider.example/authorize"
# client_auth = "basic"      # or "post"; "none" for a client without a secret
# rotation_grace = "10s"     # how long a spent refresh token is taken again; "0s": never
# refresh_every = "25m"      # default: 5/6 of the token's life
# login_lifetime = "7d"      # where a login ends however often it is refreshed
"""

TAIL = """\
# warn_before_login_ends = ["24h", "2h"]
# warn_at = ["Sun 18:00"]    # remind then if the login will not last until the next such time
# sockets = ["/tmp/bigbrother_token.sock"]                  # receivers at fixed paths
# mirror = ["~/bots/token.json"]                            # for programs that can only read a file
# include_refresh_token = false
# encrypt = "keyring"        # the token file, at rest; or "credential:NAME" of systemd
# on_event = ["notify-send", "{event}", "{account}"]

[sender]
# metrics = "127.0.0.1:9464" # for Prometheus; or the path of a socket
# log_format = "json"
# log_level = "info"
"""


@dataclass(frozen=True, slots=True)
class Answers:
    """What only the user knows; empty where it was not told. ``public``: there is no secret."""

    provider: Provider
    secret_file: str
    client_id: str = ""
    issuer: str = ""
    public: bool = False

    @property
    def account(self) -> str:
        """The account's name in the file."""
        return "schwab" if self.provider == "schwab" else "default"

    @property
    def callback(self) -> str:
        """What has to be registered with the provider."""
        return str(PRESETS[self.provider].get("redirect_uri", "http://127.0.0.1:8182/callback"))

    @property
    def complete(self) -> bool:
        """Whether nothing is left to be filled in."""
        return bool(self.client_id and (self.issuer or self.provider == "schwab"))


def render(answers: Answers) -> str:
    """The whole file."""
    secret_file = _quoted(answers.secret_file)
    secret = f"client_secret_file = {secret_file}  # chmod 600; without a secret, delete the line"
    body = (SCHWAB if answers.provider == "schwab" else GENERIC).format(
        client_id=_quoted(answers.client_id),
        issuer=_quoted(answers.issuer),
        callback=_quoted(answers.callback),
        secret_file=secret_file,
        secret=f"# {secret}" if answers.public else secret,
    )
    return HEAD + body + TAIL


def _quoted(text: str) -> str:
    # A JSON string is a basic string of TOML.
    return json.dumps(text)
