"""What stands in for the world outside, where the documents' commands and programs run.

Each entry replaces the one thing that a test cannot have; the rest of a line is as it is written.
"""

from __future__ import annotations

import http.client
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from support.strict import StrictApi

# Programs that are not here, or do more here than by themselves.
FUNCTIONS = """\
pass() { echo token_of_the_password_store; }  # its store would need a key of GnuPG
tokenrelay() { # after `init` the reader edits the file, and here that is to name a local provider
    command tokenrelay "$@" || return
    if [ "$1" = init ]; then sed -i '/^provider = "schwab"/r provider.toml' "$TOKENRELAY_CONFIG"; fi
}
"""
# The browser: follows the provider's page, which agrees at once, to the callback.
BROWSER = "curl --silent --insecure --location --output /dev/null %s"


def localized(text: str, api: StrictApi) -> str:
    """The text with the local API in the place of the examples' servers; it has no certificate."""
    local = "grpc.local_channel_credentials(grpc.LocalConnectionType.LOCAL_TCP)"
    replacements = {
        'TokenReceiver("default")': 'TokenReceiver("schwab")',
        "https://api.example.com": api.origin,
        "https://api.schwabapi.com/trader/v1/accounts": api.resource_url,
        "https://login.example.com": api.origin,
        "wss://api.example.com": api.origin.replace("http", "ws"),
        "api.example.com:443": api.grpc_target,
        "grpc.ssl_channel_credentials()": local,
    }
    for example, ours in replacements.items():
        text = text.replace(example, ours)
    return text


def answers(api: StrictApi) -> Mapping[str, Callable[[str], str]]:
    """What a user knows: the answer to each question of a command, given all that it showed."""
    return {
        "Provider (schwab, generic): ": lambda _: "schwab",
        "App Key: ": lambda _: api.client_id,
        "Secret (not shown): ": lambda _: api.client_secret,
        "client_secret (not shown; empty: none): ": lambda _: api.client_secret,
        "Log in again now? [y/N]: ": lambda _: "y",
        "press Enter:\r\n": _redirected,
    }


def _redirected(shown: str) -> str:
    """Where the provider sends the browser that opens the printed address."""
    url = urlsplit(re.findall(r"^ +(http\S+)", shown, re.MULTILINE)[-1])
    connection = http.client.HTTPConnection(url.netloc, timeout=20)
    connection.request("GET", f"{url.path}?{url.query}")
    location = connection.getresponse().headers["Location"]
    connection.close()
    return str(location)
