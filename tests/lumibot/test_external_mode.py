"""A bot in LumiBot's external mode lives through rotations; only the sender refreshes."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from interop_support import ACCOUNTS, API_KEY

from support.documents import blocks_of
from support.programs import TOKENRELAY
from support.waiting import wait_until

if TYPE_CHECKING:
    from interop_support import Schwab

    from support.command import Run
    from support.host import Host
    from support.programs import Start

BOT = Path(__file__).with_name("bot.py")


@pytest.mark.timeout(180)
def test_a_bot_follows_three_rotations(
    configured: Host, schwab_api: Schwab, start: Start, run: Run
) -> None:
    mirror = configured.root / "bots" / "schwab_token.json"
    mirror.parent.mkdir()
    text = configured.config.read_text()
    configured.config.write_text(text.replace("[sender]", f'mirror = ["{mirror}"]\n[sender]'))
    now = int(time.time())
    login = {**schwab_api.grant(), "expires_at": now + 1800, "issued_at": now, "granted_at": now}
    run("import", "-", stdin=json.dumps(login))
    start(*TOKENRELAY, "run").wait_for_event("ready")
    wait_until(mirror.exists, configured.root)
    environment = {
        **configured.environment,
        "SCHWAB_APP_KEY": API_KEY,
        "SCHWAB_ACCOUNT_NUMBER": ACCOUNTS[0]["accountNumber"],
    }
    (documented,) = blocks_of(__file__).values()
    command = documented.text.replace(
        "python bot.py", f"{sys.executable} {BOT} {schwab_api.origin}"
    )
    bot = start("bash", "-c", command, environment=environment)
    line = bot.wait_for_event("ready", timeout=90)
    assert ("Bearer access-1", 200) in schwab_api.calls
    for count in (2, 3, 4):
        run("refresh")
        newest = f"access-{count}"
        wait_until(
            lambda newest=newest: json.loads(mirror.read_text())["access_token"] == newest,
            configured.root,
        )
        bot.write("\n")
        line = bot.wait_for_event("asked", after=line)
        assert line.fields["status"] == 200
        assert schwab_api.calls[-1] == (f"Bearer {newest}", 200)
    assert schwab_api.grants == ["refresh_token"] * 3
    assert "refresh-" not in mirror.read_text()
