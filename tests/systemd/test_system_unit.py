"""The system unit as an administrator installs it: a user of its own, programs of other users."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sender_support import response
from systemd_support import PYTHON, REFUSED, Account, fingerprint, probing_unit, shared

from support.documents import blocks_of
from support.host import plain_login
from support.typed import Typed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sender_support import Provider

    from support.programs import Program

PLACE = Path("/run/trader/token.sock")
CONFIGURATION = """\
[accounts.main]
client_id = "me"
client_secret_file = "$CREDENTIALS_DIRECTORY/client_secret"
token_url = "{url}"
sockets = ["{place}"]
allow_listener_uids = [{uid}]
authorize_url = "{url}"
redirect_uri = "https://127.0.0.1:8182"
"""
ENVIRONMENT = (
    "TOKENRELAY_CONFIG=/etc/tokenrelay/tokenrelay.toml",
    "TOKENRELAY_STATE_DIR=/var/lib/tokenrelay",
    "TOKENRELAY_RUNTIME_DIR=/run/tokenrelay",
)
PROGRAM, LOGIN = (block.text for block in blocks_of(__file__).values())
# The receiver of PROGRAM runs and prints what it gets.
SHOWN = "receiver = TokenReceiver(path"
STARTED = """
import signal
receiver.subscribe(lambda token: print(token, flush=True))
with receiver:
    print("ready", flush=True)
    signal.pause()
"""
CREDENTIAL = ("--credential", "client_secret:/etc/tokenrelay/client_secret")


def service(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PYTHON, "-P", "-m", "tokenrelay", "service", *arguments, "--system"],
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )


def command(*arguments: str) -> None:
    """A command as the unit's user, with its credential: as docs/service.md says."""
    unit = ["systemd-run", "--quiet", "--pipe", "--wait", "--uid=tokenrelay"]
    unit += ["-p", "StateDirectory=tokenrelay", "-p", "StateDirectoryMode=0700"]
    unit += ["-p", f"LoadCredential={CREDENTIAL[1]}"]
    unit += [f"--setenv={one}" for one in ENVIRONMENT]
    subprocess.run([*unit, PYTHON, "-P", "-m", "tokenrelay", *arguments], check=True, timeout=90)


@pytest.fixture
def tokenrelay(trader: Account, provider: Provider) -> Iterator[Account]:
    """The unit's own user, made by an installation that waits for a configuration."""
    said = service("install", *CREDENTIAL)
    assert said.returncode == 0, said.stderr
    assert "Not started: /etc/tokenrelay/tokenrelay.toml is missing" in said.stderr
    account = Account.named("tokenrelay")
    directory = Path("/etc/tokenrelay")
    directory.mkdir()
    text = CONFIGURATION.format(url=provider.token_url, place=PLACE, uid=trader.uid)
    (directory / "tokenrelay.toml").write_text(text)
    (directory / "client_secret").touch(mode=0o600)
    (directory / "client_secret").write_text("the-client-secret\n")
    PLACE.parent.mkdir()
    os.chown(PLACE.parent, trader.uid, trader.gid)
    token = account.write(directory / "login.json", plain_login())
    os.chown(token, account.uid, account.gid)
    command("import", str(token), "--account", "main")
    yield account
    assert "removed" in service("uninstall").stderr
    assert "nothing to do" in service("uninstall").stderr
    for path in (directory, account.home, PLACE.parent):
        shutil.rmtree(path)


def test_it_feeds_programs_of_other_users_and_stays_in_its_sandbox(
    trader: Account,
    tokenrelay: Account,
    provider: Provider,
    start_as: Callable[..., Program],
) -> None:
    receiver = start_as(
        trader, PYTHON, "-c", PROGRAM.replace("TokenReceiver(path", SHOWN) + STARTED
    )
    receiver.wait_for(lambda line: line.text == "ready")
    said = service("install", *CREDENTIAL)
    assert said.returncode == 0, said.stderr
    score = re.search(r"Exposure by systemd-analyze security: (\d\.\d) of 10", said.stderr)
    assert score is not None
    assert float(score[1]) <= 1.2
    assert "as it was" in said.stderr
    receiver.wait_for(lambda line: "generation=1" in line.text)

    own = start_as(tokenrelay, "env", *ENVIRONMENT, PYTHON, shared("receive.py"), "main")
    own.wait_for_event("token", fingerprint=fingerprint("access-0"))
    command("refresh", "main")
    receiver.wait_for(lambda line: "generation=2" in line.text)
    own.wait_for_event("token", fingerprint=fingerprint("access-1"))
    assert provider.headers[0]["Authorization"].startswith("Basic ")


def test_each_directive_has_its_effect(trader: Account, tokenrelay: Account) -> None:
    outside = json.loads(tokenrelay.run(PYTHON, shared("probe.py")).stdout)
    places = ["/tmp/.X11-unix", "/run/trader", "/var/lib/tokenrelay"]
    output = Path("/run/probed")
    unit = probing_unit(service("show").stdout, places, output)
    Path("/run/systemd/system/probe.service").write_text(unit)
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    subprocess.run(["systemctl", "start", "probe"], check=True)
    inside = json.loads(output.read_text())
    refused = {
        **REFUSED,
        "PrivateDevices": "ENOENT",
        "ProtectHome": "EACCES",
        "ProtectKernelTunables": "EROFS",
        "ProtectProc": "ENOENT",
        "ProtectSystem": "EROFS",
    }
    assert {name for name in refused if outside["attempts"][name] != refused[name]} == set(refused)
    assert inside["attempts"] == refused
    assert (inside["NoNewPrivs"], inside["Seccomp"], inside["Umask"]) == ("1", "2", "0077")
    assert (inside["CapBnd"], inside["core"]) == ("0000000000000000", [0, 0])
    assert (inside["uid"], inside["uid_map"]) == (tokenrelay.uid, ["0", "0", "4294967295"])
    assert inside["sees"] == places[1:]


def redirected(shown: str) -> str:
    """The address to which the provider sends the browser that opens the printed one."""
    (state,) = re.findall(r"[?&]state=([\w-]+)", shown)
    return f"https://127.0.0.1:8182/?code=c&state={state}"


def test_an_administrator_logs_in_as_the_unit_does(
    tokenrelay: Account, provider: Provider, tmp_path: Path
) -> None:
    granted = {"access_token": "a", "refresh_token": "r", "expires_in": 1800}
    provider.script.append(response(200, granted))
    typed = Typed(
        f'sudo() {{ env "$@"; }}\n{LOGIN}',
        environment=os.environ,
        folder=tmp_path,
        answers={"press Enter:\r\n": redirected},
    )
    assert typed.wait() == 0, typed.shown
    assert "main: logged in" in typed.shown
    assert provider.forms[-1]["grant_type"] == "authorization_code"
