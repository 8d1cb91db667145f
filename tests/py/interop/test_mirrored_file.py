"""The mirrored file of a running sender, read by schwab-py; the sender's hook beside it."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

import schwab.auth
from interop_support import API_KEY

from support.documents import blocks_of
from support.programs import TOKENRELAY
from support.waiting import wait_until

if TYPE_CHECKING:
    from interop_support import Schwab

    from support.command import Run
    from support.host import Host
    from support.programs import Start


def shape(value: Any) -> Any:
    """The names and types of an object."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    return type(value)


def test_the_file_follows_the_sender_and_schwab_py_reads_it(
    configured: Host, schwab_api: Schwab, start: Start, run: Run
) -> None:
    mirror, told = configured.root / "mirror.json", configured.root / "told"
    append = "import sys; open(sys.argv[1], 'a').write(' '.join(sys.argv[2:]) + chr(10))"
    hook = [sys.executable, "-c", append, str(told), "{event}", "{account}"]
    text = configured.config.read_text()
    settings = f'mirror = ["{mirror}"]\non_event = {json.dumps(hook)}\n[sender]'
    configured.config.write_text(text.replace("[sender]", settings))
    now = int(time.time())
    login = {**schwab_api.grant(), "expires_at": now + 1800, "issued_at": now}
    # Half an hour before its seven days are over.
    login["granted_at"] = now - 7 * 86400 + 1800
    run("import", "-", stdin=json.dumps(login))
    sender = start(*TOKENRELAY, "run")
    sender.wait_for_event("login ends soon", type="tokenrelay login schwab")
    run("refresh")

    def mirrored() -> bool:
        return mirror.exists() and json.loads(mirror.read_text())["access_token"] == "access-2"

    wait_until(mirrored, configured.root)
    wait_until(
        lambda: told.exists() and "token_refreshed schwab" in told.read_text(), configured.root
    )
    assert "login_ends_soon schwab\n" in told.read_text()
    assert "refresh-" not in mirror.read_text()
    (documented,) = blocks_of(__file__).values()
    assert shape(json.loads(mirror.read_text())) == shape(json.loads(documented.text))
    client = schwab.auth.client_from_token_file(str(mirror), API_KEY, "unused")
    client.session.event_hooks = {"request": [schwab_api.redirect]}
    assert client.get_account_numbers().status_code == 200
    client.session.close()
    assert schwab_api.grants == ["refresh_token"]
    for command in (["status"], ["status", "--json"]):
        assert "tokenrelay login schwab" in run(*command).stdout
    sender.terminate()
    assert "tokenrelay login schwab" in run("status").stdout
    assert "access-" not in sender.output
