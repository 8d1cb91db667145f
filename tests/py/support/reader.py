"""A reader who types what a page says, at a terminal."""

from __future__ import annotations

import json
import re
import sys
import time
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from support.host import toml_table, write_private
from support.ports import free_port
from support.programs import RECEIVE, TOKENRELAY
from support.stand_ins import BROWSER, FUNCTIONS, answers, localized
from support.typed import Typed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.host import Host
    from support.programs import Program, Start
    from support.strict import StrictApi

# What has no end, and what it shows once it is at work. It goes on beside the commands after it, as
# in another terminal, and is interrupted at last.
ENDLESS = {
    "tokenrelay run": "token in service",
    "tokenrelay run --replace": "token in service",
    "tokenrelay listen schwab": "generation 1",
    "tokenrelay status --watch": "The sender runs",
}


class Reader:
    """A user of one host whose provider and API are ``api``."""

    def __init__(self, host: Host, api: StrictApi, start: Start) -> None:
        self._host, self._api, self._start = host, api, start
        self._provider = {
            "authorize_url": f"{api.origin}/authorize",
            "token_url": api.token_url,
            "redirect_uri": f"https://127.0.0.1:{free_port()}",
        }

    def has_done(self, text: str) -> None:
        """Do what comes before these commands and is not done by them."""
        if "tokenrelay init" in text:
            lines = [f"{key} = {json.dumps(value)}\n" for key, value in self._provider.items()]
            write_private(self._host.root / "provider.toml", "".join(lines))
            return
        self._configure(mail=" mail " in text)
        if "tokenrelay import" in text:
            return
        self._log_in()
        receiver = self._receive()
        if "listen --path" not in text:
            for name in re.findall(r"/tmp/(\w+\.sock)", text):
                self._receive("--path", self._host.root / name)
        if not re.search(r"tokenrelay (run(?! --replace)|send)", text):
            self._start(*TOKENRELAY, "run").wait_for_event("ready")
            receiver.wait_for_event("token")

    def types(self, text: str) -> None:
        """Type these commands, each of which has to end well."""
        beside = []
        text = localized(text, self._api).replace("/tmp/", f"{self._host.root}/")
        try:
            for awaited, commands in groupby(_commands(text), key=_awaited):
                typed = self._type("\n".join(commands))
                if awaited is None:
                    assert typed.wait() == 0, typed.shown
                else:
                    beside.append(typed)
                    typed.wait_for(awaited)
            for typed in beside:
                typed.interrupt()
                assert typed.wait() in (0, 130), typed.shown
        finally:
            for typed in beside:
                typed.dispose()

    def _type(self, script: str) -> Typed:
        environment = self._host.environment
        path = f"{Path(sys.executable).parent}:{environment['PATH']}"
        return Typed(
            FUNCTIONS + script,
            environment={**environment, "PATH": path, "BROWSER": BROWSER},
            folder=self._host.root,
            answers=answers(self._api),
        )

    def _receive(self, *options: str | Path) -> Program:
        receiver = self._start(*RECEIVE, *options, "schwab")
        receiver.wait_for_event("ready")
        return receiver

    def _configure(self, *, mail: bool) -> None:
        """A receiver at a fixed path; maybe an account whose provider tells its endpoints."""
        host, api = self._host, self._api
        fixed = [str(host.root / "my.sock")]
        host.configure(api, name="schwab", provider="schwab", sockets=fixed, **self._provider)
        if mail:
            names = {"client_id": api.client_id, "client_secret": api.client_secret}
            with host.config.open("a") as config:
                config.write(toml_table("accounts.mail", {"issuer": api.origin, **names}))

    def _log_in(self) -> None:
        self._host.state.mkdir(mode=0o700)
        login = {**self._api.log_in(), "granted_at": int(time.time())}
        write_private(self._host.token_file("schwab"), json.dumps(login))


def _commands(text: str) -> Iterator[str]:
    """The lines that are typed, long ones in one piece."""
    for line in text.replace("\\\n", " ").splitlines():
        if command := line.strip():
            yield command


def _awaited(command: str) -> str | None:
    return ENDLESS.get(re.sub(r"\s+#.*", "", command))
