"""Every command of the documents that wants a systemd is typed here, by a user with a login."""

from __future__ import annotations

import re
import subprocess
import urllib.request
from pathlib import Path
from ssl import CERT_NONE, create_default_context
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
from sender_support import response
from systemd_support import PYTHON, fingerprint, shared

from support.documents import REPOSITORY, blocks_of, for_each
from support.host import plain_login
from support.ports import free_port
from support.typed import Typed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sender_support import Provider
    from systemd_support import Account

    from support.markdown_code import Block
    from support.programs import Program

WHEELHOUSE = REPOSITORY / "build" / "wheelhouse"
CONFIGURATION = """\
[accounts.schwab]
provider = "schwab"
client_id = "me"
client_secret_file = "{secret}"
authorize_url = "{origin}/authorize"
token_url = "{origin}/token"
redirect_uri = "https://127.0.0.1:{port}"
"""
OWN_INSTALL = re.compile(r"^tokenrelay service install", re.MULTILINE)
CREDENTIAL = re.compile(r"^(tokenrelay|systemd-run).*client_secret:", re.MULTILINE)
# The shell is root's; what the pages have a user type, that user runs.
FUNCTIONS = """\
trader() {{ {trader} "$@"; }}
tokenrelay() {{ trader tokenrelay "$@"; }}
systemd-run() {{ trader systemd-run "$@"; }}
sudo() {{ env "$@"; }}
loginctl() {{ command loginctl "$@" trader; }} # a user may do that by polkit, which is not here
"""
# The sandbox has no network; and /opt/tokenrelay is what the other tests use.
PIP = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(WHEELHOUSE), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
PLACES = {"/opt/tokenrelay": "/srv/tokenrelay"}


@pytest.fixture
def configured(trader: Account, provider: Provider) -> Iterator[Callable[[bool], None]]:
    """A function that configures the account, its secret a credential or not, and logs in."""
    secret = trader.home / ".config/tokenrelay/secret"
    system = Path("/etc/tokenrelay/secret")

    def configure(credential: bool) -> None:
        trader.write(secret, "the-client-secret\n")
        text = CONFIGURATION.format(
            secret="$CREDENTIALS_DIRECTORY/client_secret" if credential else secret,
            origin=provider.origin,
            port=free_port(),
        )
        trader.write(trader.home / ".config/tokenrelay/tokenrelay.toml", text)
        token = trader.home / ".local/state/tokenrelay/schwab.json"
        trader.write(token, plain_login())
        token.parent.chmod(0o700)
        granted = {"access_token": "a", "refresh_token": "r", "expires_in": 1800}
        provider.script.append(response(200, granted))  # where the block logs in
        system.parent.mkdir(exist_ok=True)
        system.write_text("the-client-secret\n")

    yield configure
    trader.tokenrelay("service", "uninstall")
    subprocess.run([PYTHON, "-m", "tokenrelay", "service", "uninstall", "--system"], check=True)
    subprocess.run(["rm", "-rf", trader.home / ".config", trader.home / ".local"], check=True)
    subprocess.run(["rm", "-rf", system.parent, "/srv/tokenrelay"], check=True)


def answer_callback(shown: str) -> str:
    """Do what the browser does after the login: open the callback with a code."""
    (address,) = re.findall(r"^ +(http\S+)", shown, re.MULTILINE)
    asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
    context = create_default_context()
    context.check_hostname, context.verify_mode = False, CERT_NONE
    url = f"{asked['redirect_uri']}?code=c&state={asked['state']}"
    urllib.request.urlopen(url, context=context, timeout=20).close()
    return ""


def type_as(trader: Account, text: str) -> str:
    for example, ours in PLACES.items():
        text = text.replace(example, ours)
    environment = {**trader.environment, **PIP}
    environment["PATH"] = f"{PYTHON.parent}:{environment['PATH']}"
    typed = Typed(
        FUNCTIONS.format(trader=" ".join(trader.command())) + text,
        environment=environment,
        folder=trader.home,
        answers={"[y/N]: ": lambda _: "y", " …\r\n": answer_callback},
    )
    assert typed.wait() == 0, typed.shown
    return typed.shown


@for_each(blocks_of(__file__))
def test_a_user_types_it(
    block: Block, trader: Account, configured: Callable[[bool], None],
    start_as: Callable[..., Program],
) -> None:  # fmt: skip
    """Where it installs the user's unit, a program of that user is fed."""
    configured(CREDENTIAL.search(block.text) is not None)
    if "uninstall" in block.text:
        type_as(trader, "tokenrelay service install")
    type_as(trader, block.commands)
    installs = OWN_INSTALL.search(block.commands) is not None
    state = trader.run("systemctl", "--user", "is-enabled", "tokenrelay", succeed=False)
    assert (state.returncode == 0) == installs
    if installs:
        receiver = start_as(trader, PYTHON, shared("receive.py"), "schwab")
        receiver.wait_for_event("token", fingerprint=fingerprint("access-0"))


def test_a_unit_reads_the_credential_that_a_page_makes(trader: Account) -> None:
    (block,) = (one for place, one in blocks_of(__file__).items() if "security" in place)
    type_as(trader, block.commands)
    unit = ("--quiet", "--pipe", "--wait", "-p", "LoadCredentialEncrypted=relay")
    command = ["systemd-run", *unit, "sh", "-c", "wc -c <$CREDENTIALS_DIRECTORY/relay"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "32\n"
