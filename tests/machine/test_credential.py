"""`encrypt = "credential:…"` under a real systemd, which decrypts the key for its units alone."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.host import plain_login, write_private
from support.programs import TOKENRELAY
from tokenrelay.sender.sealing import MARK

if TYPE_CHECKING:
    from sender_support import Provider

    from support.host import Host
    from support.programs import Start

UNITS = Path("/run/systemd/system")
STORE = Path("/run/credstore.encrypted")  # of this boot; /etc has one that stays
CONFIGURATION = """\
[accounts.main]
client_id = "me"
client_auth = "none"
token_url = "{url}"
encrypt = "credential:relay"
"""
UNIT = """\
[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
LoadCredentialEncrypted=relay
Environment={environment}
ExecStart={command}
StandardOutput=file:{output}
StandardError=inherit
"""


def run_as_unit(host: Host, *command: str) -> str:
    """Run a command to its good end as a unit that has the credential; return what it printed."""
    output = host.root / "output"
    names = ("HOME", "TOKENRELAY_RUNTIME_DIR", "TOKENRELAY_STATE_DIR", "TOKENRELAY_CONFIG")
    text = UNIT.format(
        environment=" ".join(f"{name}={host.environment[name]}" for name in names),
        command=" ".join([*TOKENRELAY, *command]),
        output=output,
    )
    (UNITS / "relay.service").write_text(text)
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    started = subprocess.run(["systemctl", "start", "relay.service"], check=False)
    assert started.returncode == 0, output.read_text()
    return output.read_text()


@pytest.fixture
def login(host: Host, provider: Provider) -> Path:
    """An account to be encrypted with a credential made as the documents say."""
    STORE.mkdir()
    key = ("systemd-creds", "encrypt", "--name=relay", "-", str(STORE / "relay"))
    subprocess.run(key, input=os.urandom(32), check=True)
    write_private(host.config, CONFIGURATION.format(url=provider.token_url))
    plain = host.root / "login.json"
    write_private(plain, plain_login())
    return plain


def test_a_unit_with_the_credential_refreshes_what_a_terminal_cannot_read(
    host: Host, login: Path, provider: Provider, start: Start
) -> None:
    run_as_unit(host, "import", str(login), "--account", "main")
    run_as_unit(host, "refresh")
    assert provider.requests == 1
    sealed = host.token_file().read_bytes()
    assert sealed.startswith(MARK)
    assert b"access-1" not in sealed
    assert "access-1" in run_as_unit(host, "show")
    terminal = start(*TOKENRELAY, "refresh")
    assert terminal.wait() == 1
    assert "LoadCredentialEncrypted=relay" in terminal.output
    assert (provider.requests, host.token_file().read_bytes()) == (1, sealed)
