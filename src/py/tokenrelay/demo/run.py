"""The demo itself: lays out a host in a temporary directory, runs it, judges it."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NoReturn

from rich.console import Console

from tokenrelay.demo.api import TOKEN_SECONDS
from tokenrelay.demo.children import Child, Report
from tokenrelay.demo.score import Score
from tokenrelay.demo.view import LiveView, PlainView, View, summary_table
from tokenrelay.demo.worker import ACCOUNT
from tokenrelay.sender.errors import SenderError
from tokenrelay.sender.tokens import TokenSet
from tokenrelay.sender.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

WORKERS = ("worker-1", "worker-2", "worker-3")
VICTIM = WORKERS[1]
START_SECONDS = 20.0
TICK_SECONDS = 0.25
KILL_AT, DOWN_SECONDS = 0.4, 1.0

CONFIG = """\
[accounts.{account}]
provider = "generic"
token_url = "{url}/token"
client_id = "{client_id}"
client_secret_file = "{secret_file}"
rotation_grace = "0s"

[sender]
log_format = "json"
"""


def run_demo(seconds: int, *, as_json: bool) -> int:
    """Run for about ``seconds`` and print the summary; 0 only if nothing was refused."""
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGHUP, _end)
    started = time.monotonic()
    console = Console(stderr=as_json)
    live = console.is_terminal and not as_json
    view: View = LiveView(console, started, TOKEN_SECONDS) if live else PlainView(console, started)
    score = Score(view.tell)
    with ExitStack() as stack:
        directory = tempfile.TemporaryDirectory(prefix="tokenrelay-demo-")
        demo = Demo(Path(stack.enter_context(directory)), score, view, stack)
        stack.enter_context(view)
        demo.start()
        demo.watch(started + seconds)
        demo.finish()
    failures = score.verdict()
    if as_json:
        result = {"ok": not failures, "seconds": seconds, **score.summary(), "failures": failures}
        print(json.dumps(result), flush=True)
    else:
        console.print(summary_table(score, time.monotonic() - started))
        for failure in failures:
            console.print(f"FAILED: {failure}", style="red bold", highlight=False)
    return 1 if failures else 0


class Demo:
    """One host: its directories, its processes and what they report."""

    def __init__(self, directory: Path, score: Score, view: View, stack: ExitStack) -> None:
        self._directory, self._score, self._view, self._stack = directory, score, view, stack
        self._reports: SimpleQueue[Report] = SimpleQueue()
        self._children: dict[str, Child] = {}
        self._config = directory / "tokenrelay.toml"
        self._url = ""
        self._environment = {
            **os.environ,
            "TOKENRELAY_RUNTIME_DIR": str(directory / "run"),
            "TOKENRELAY_STATE_DIR": str(directory / "state"),
            "TOKENRELAY_CONFIG": str(self._config),
        }

    def start(self) -> None:
        """Start everybody; return once the sender is ready."""
        login = self._wait_for(self._start("provider", "tokenrelay.demo.api"), "ready").fields
        self._url = login["url"]
        self._score.tell(f"provider and API at {self._url}, tokens live {TOKEN_SECONDS} s", False)
        self._store(login)
        sender = self._start("sender", "tokenrelay", "run", "--config", str(self._config))
        for name in WORKERS:
            self._start_worker(name)
        self._wait_for(sender, "ready")
        self._score.tell(f"sender ready, process {sender.pid}; {len(WORKERS)} programs", False)

    def watch(self, end: float) -> None:
        """Follow the reports until ``end`` (monotonic seconds), with one kill on the way."""
        begin = time.monotonic()
        kill_at = begin + KILL_AT * (end - begin)
        self._follow(kill_at, end)
        self._children[VICTIM].kill()
        self._score.kill_worker(VICTIM)
        self._follow(kill_at + DOWN_SECONDS, end)
        self._start_worker(VICTIM)
        self._follow(end, end)

    def finish(self) -> None:
        """End everybody in order, so that no last call or count is lost."""
        self._end(self._children["sender"].terminate, "sender")
        for name in (*WORKERS, "provider"):
            self._end(self._children[name].close, name)
        self._drain()

    def _start(self, name: str, module: str, *arguments: str) -> Child:
        child = Child(name, module, arguments, environment=self._environment, reports=self._reports)
        self._stack.callback(child.close)
        self._children[name] = child
        return child

    def _start_worker(self, name: str) -> None:
        child = self._start(name, "tokenrelay.demo.worker", name, self._url)
        self._score.add_worker(name, child.pid)

    def _store(self, login: dict[str, Any]) -> None:
        """Lay out what `tokenrelay init` and a login leave behind."""
        secret = self._directory / "client_secret"
        _write_private(secret, login["client_secret"])
        client_id = login["client_id"]
        text = CONFIG.format(
            account=ACCOUNT, url=self._url, client_id=client_id, secret_file=secret
        )
        _write_private(self._config, text)
        token = TokenSet(
            login["access_token"],
            login["issued_at"] + login["expires_in"],
            refresh_token=login["refresh_token"],
            issued_at=login["issued_at"],
            granted_at=login["issued_at"],
        )
        path = self._directory / "state" / f"{ACCOUNT}.json"
        Vault(path, token_url=f"{self._url}/token", client_id=client_id).store(token)

    def _wait_for(self, child: Child, event: str) -> Report:
        deadline = time.monotonic() + START_SECONDS
        while (left := deadline - time.monotonic()) > 0 and child.exit_code is None:
            report = self._next(min(left, TICK_SECONDS))
            if report and report.child is child and report.event == event:
                return report
        raise SenderError(f"the {child.name} did not start. {' | '.join(child.last_lines)}")

    def _follow(self, until: float, end: float) -> None:
        next_sample = time.monotonic()
        while (now := time.monotonic()) < until:
            if now >= next_sample:
                next_sample = now + TICK_SECONDS
                self._check_running()
                self._score.sample(time.time())
                self._view.update(self._score, end - now)
            self._next(min(until, next_sample) - now)

    def _check_running(self) -> None:
        for child in self._children.values():
            worker = self._score.workers.get(child.name)
            expected = worker is None or worker.running
            if expected and child.exit_code is not None:
                raise SenderError(
                    f"the {child.name} ended by itself (exit code {child.exit_code}). "
                    f"{' | '.join(child.last_lines)}"
                )

    def _next(self, timeout: float) -> Report | None:
        try:
            report = self._reports.get(timeout=max(0.0, timeout))
        except Empty:
            return None
        self._score.apply(report)
        level = report.fields.get("level")
        if report.child.name == "sender" and level in ("error", "warning"):
            cause = report.fields.get("error", "")
            self._score.tell(f"sender: {report.event}, {cause}".rstrip(", "), level == "error")
        return report

    def _drain(self) -> None:
        while self._next(0) is not None:
            pass

    def _end(self, how: Callable[[], int], name: str) -> None:
        code = how()
        if code != 0:
            self._score.fail(f"the {name} ended with exit code {code}")


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    # As an exception, so that the children and the directory go on the way out.
    sys.exit(128 + number)
