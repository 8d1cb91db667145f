"""A new user in a terminal: from `pip install` to a fed program, each command as it was printed."""

from __future__ import annotations

import os
import re
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from browser_support import BUILD, REPOSITORY, log_in_and_consent

from support.documents import assert_quoted, blocks_of
from support.terminal import PROMPT, Terminal

if TYPE_CHECKING:
    from pathlib import Path

    from browser_support import OidcProvider
    from selenium.webdriver import Chrome

INSTALL = "python3 -m venv ~/.venv && . ~/.venv/bin/activate && pip install -q '.[sender]'"
NEXT = re.compile(r"^Next: (tokenrelay [^(\n]*?)(?: \(.*\))?$", re.MULTILINE)
PIP_SECONDS = 420.0


def new_user(home: Path) -> dict[str, str]:
    """An environment without anything of ours; a runtime directory that no other user shares."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TOKENRELAY_")}
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "VIRTUAL_ENV", "BROWSER", "DISPLAY"):
        kept.pop(name, None)
    return {**kept, "HOME": str(home), "TOKENRELAY_RUNTIME_DIR": str(home / "run")}


class User:
    """Types what was printed last, and remembers how many commands that were."""

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal
        self.commands: list[str] = []

    def type(self, command: str) -> None:
        """At the prompt, so not before the command before has ended."""
        self.terminal.wait_for(lambda screen: screen.endswith(PROMPT.strip()))
        self.commands.append(command)
        self.terminal.type(command)

    def next_command(self, *, timeout: float = 60.0) -> str:
        """The command that the newest output names; not one that was typed already."""

        def told(_: str) -> bool:
            found = NEXT.findall(self.terminal.transcript)
            return bool(found) and found[-1] not in self.commands

        self.terminal.wait_for(told, timeout=timeout)
        return str(NEXT.findall(self.terminal.transcript)[-1])

    def answer(self, question: str, text: str) -> None:
        terminal = self.terminal
        terminal.wait_for(lambda screen: question in screen.splitlines()[-1] and terminal.asks)
        terminal.type(text)


@pytest.mark.timeout(600)
def test_five_commands_from_pip_install_to_a_fed_program(
    short_path: Path, provider: OidcProvider, browser: Chrome
) -> None:
    home, other = short_path / "home", short_path / "other"
    home.mkdir()
    other.mkdir()
    with ExitStack() as stack:
        first = stack.enter_context(Terminal(home, new_user(home), folder=REPOSITORY))
        user = User(first)
        user.type(f"{INSTALL} && tokenrelay")
        user.type(user.next_command(timeout=PIP_SECONDS))
        assert user.commands[-1] == "tokenrelay init"
        user.answer("Provider", "generic")
        user.answer("Issuer", provider.issuer)
        user.answer("client_id", "desktop")
        user.answer("client_secret", "")
        user.type(user.next_command())
        assert user.commands[-1] == "tokenrelay login"
        first.wait_for(lambda screen: "Waiting for the callback" in screen)
        (url,) = re.findall(r"^ +(http\S+)$", first.transcript, re.MULTILINE)
        browser.get(url)
        log_in_and_consent(browser)
        user.type(user.next_command())
        assert user.commands[-1] == "tokenrelay run"
        listen = user.next_command()
        # "in another terminal", with the same environment activated
        path = f"{home / '.venv' / 'bin'}:{os.environ['PATH']}"
        second = stack.enter_context(Terminal(other, {**new_user(home), "PATH": path}))
        user.commands.append(listen)
        second.type(listen)
        fed = re.compile(r"token [0-9a-f]{8} +generation 1 ")
        second.wait_for(lambda screen: fed.search(screen) is not None)
        first.wait_for(lambda screen: "delivered" in screen)
        BUILD.mkdir(parents=True, exist_ok=True)
        text = f"{first.transcript}\n\n--- another terminal\n{second.transcript}\n"
        (BUILD / "first-contact.txt").write_text(text)
        shortened = {str(home / "run"): "/run/user/1000/tokenrelay", str(home): "~"}
        for block, terminal in zip(blocks_of(__file__).values(), (first, second), strict=True):
            shown = terminal.transcript
            for place, short in shortened.items():
                shown = shown.replace(place, short)
            assert_quoted(block, shown)
    assert len(user.commands) == 5
    assert (home / ".venv" / "share" / "man" / "man1" / "tokenrelay.1").exists()
    assert provider.report() == {"authorization_code granted": 1}
