"""SIGHUP: what changed in the configuration changes, and nothing else does."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

from support.listener import Listener, socket_name
from support.programs import TOKENRELAY
from support.refusing_disk import sender_with_an_unsaved_token
from tokenrelay.sender import control

if TYPE_CHECKING:
    from sender_support import Provider

    from support.host import Host
    from support.programs import Line, Program, Start

REFUSED = "configuration refused, the old one stays"
RELOADED = "configuration reloaded"


def table(provider: Provider, account: str = "main", **settings: str) -> str:
    values = {"client_id": "me", "token_url": provider.token_url, **settings}
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join([f"[accounts.{account}]", *lines, ""])


def configure(host: Host, *tables: str) -> None:
    host.config.touch(mode=0o600)
    host.config.write_text("\n".join([*tables, '[sender]\nlog_format = "json"\n']))


def store(host: Host, account: str = "main", *, expires_in: int = 1800) -> None:
    now = int(time.time())
    host.state.mkdir(mode=0o700, exist_ok=True)
    path = host.token_file(account)
    path.touch(mode=0o600)
    token = {"access_token": "access-0", "refresh_token": "refresh-0", "serial": now * 1000}
    path.write_text(json.dumps({**token, "issued_at": now, "expires_at": now + expires_in}))


def listen(host: Host, account: str = "main") -> Listener:
    directory = host.runtime / account
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    host.runtime.chmod(0o700)
    return Listener(directory / socket_name())


def run(start: Start) -> Program:
    sender = start(*TOKENRELAY, "run")
    sender.wait_for_event("ready")
    return sender


def ask(host: Host, command: str, **fields: str) -> dict[str, Any]:
    reply = control.call({"command": command, **fields}, timeout=20, directories=(host.runtime,))
    assert reply is not None
    return reply


def hang_up(sender: Program, event: str) -> Line:
    """Send SIGHUP; return the line of the event that follows."""
    last = sender.lines[-1]
    os.kill(sender.pid, signal.SIGHUP)
    return sender.wait_for_event(event, after=last)


def test_accounts_start_end_and_start_anew_beside_one_that_is_left_alone(
    host: Host, provider: Provider, start: Start
) -> None:
    calm, removed, changed = (table(provider, name) for name in ("calm", "removed", "changed"))
    configure(host, calm, removed, changed)
    for account in ("calm", "removed", "changed", "added"):
        store(host, account)
    listeners = {name: listen(host, name) for name in ("calm", "removed", "changed", "added")}
    sender = run(start)
    for name in ("calm", "removed", "changed"):
        listeners[name].next_frame()
    configure(host, calm, table(provider, "changed", refresh_every="20m"), table(provider, "added"))
    fields = hang_up(sender, RELOADED).fields
    assert (fields["started"], fields["ended"], fields["restarted"]) == (
        ["added"],
        ["removed"],
        ["changed"],
    )
    for name in ("added", "changed"):
        assert listeners[name].next_frame()["access_token"] == "access-0"
    assert [listeners[name].connections.qsize() for name in listeners] == [1, 1, 2, 1]
    assert listeners["removed"].connections.get().recv(1) == b""
    assert {one["name"] for one in ask(host, "status")["accounts"]} == {"calm", "changed", "added"}
    for listener in listeners.values():
        listener.close()


def test_a_bad_configuration_is_refused_with_line_and_key_and_the_old_one_goes_on(
    host: Host, provider: Provider, start: Start
) -> None:
    configure(host, table(provider))
    store(host)
    with listen(host) as listener:
        sender = run(start)
        listener.next_frame()
        configure(host, table(provider, refresh_every="soon"))
        error = hang_up(sender, REFUSED).fields["error"]
        assert f"{host.config}:4: accounts.main.refresh_every: 'soon' is no duration" in error
        ask(host, "refresh", account="main")
        assert listener.next_frame()["access_token"] == "access-1"
        assert listener.connections.qsize() == 1
        configure(host, table(provider, refresh_every="20m"))
        assert hang_up(sender, RELOADED).fields["restarted"] == ["main"]


def test_a_refresh_in_flight_is_finished_before_its_account_starts_anew(
    host: Host, provider: Provider, start: Start
) -> None:
    configure(host, table(provider))
    store(host)
    with listen(host) as listener:
        sender = run(start)
        listener.next_frame()
        provider.hold = threading.Event()
        refreshing = start(*TOKENRELAY, "refresh", "main")
        assert provider.asked.acquire(timeout=20)
        configure(host, table(provider, refresh_every="20m"))
        os.kill(sender.pid, signal.SIGHUP)
        provider.hold.set()
        sender.wait_for_event(RELOADED)
        assert listener.next_frame()["access_token"] == "access-1"
    refreshing.wait()
    assert host.stored_token()["refresh_token"] == "refresh-1"
    assert provider.reuses == 0


def test_an_account_whose_new_token_is_not_saved_stays_as_it_is_and_holds_nothing_up(
    host: Host, provider: Provider, start: Start
) -> None:
    configure(host, table(provider))
    store(host, expires_in=-1)
    elsewhere = str(host.root / "elsewhere" / "main.json")
    with sender_with_an_unsaved_token(host, start) as (program, sender):
        configure(host, table(provider, token_file=elsewhere), table(provider, "added"))
        os.kill(sender, signal.SIGHUP)
        fields = program.wait_for_event(RELOADED).fields
        assert (fields["started"], fields["restarted"], fields["kept"]) == (["added"], [], ["main"])
        told = program.wait_for(lambda line: "left as they were" in line.text).fields
        assert told["accounts"] == ["main"]
        accounts = {one["name"]: one for one in ask(host, "status")["accounts"]}
        assert accounts["main"]["token"] is not None
        assert "not saved" in accounts["main"]["last_error"]
        configure(host)
        os.kill(sender, signal.SIGHUP)
        program.wait_for_event(REFUSED)


def test_a_change_that_needs_a_new_start_is_said(
    host: Host, provider: Provider, start: Start
) -> None:
    configure(host, table(provider))
    sender = run(start)
    host.config.write_text(host.config.read_text() + 'log_level = "debug"\n')
    hang_up(sender, RELOADED)
    assert "[sender] has changed" in sender.output


def test_without_its_terminal_it_ends(host: Host, provider: Provider) -> None:
    """A closed terminal sends SIGHUP too, and nobody would see the sender any more."""
    configure(host, table(provider))
    terminal, end = pty.openpty()
    sender = subprocess.Popen(
        [*TOKENRELAY, "run"],
        stdin=end,
        stderr=subprocess.PIPE,
        env=host.environment,
        start_new_session=True,
        text=True,
    )
    os.close(end)
    assert sender.stderr is not None
    with sender:
        assert any('"ready"' in line for line in sender.stderr)
        os.close(terminal)
        os.kill(sender.pid, signal.SIGHUP)
        assert any("the terminal is closed" in line for line in sender.stderr)
        assert sender.wait(30) == 0
