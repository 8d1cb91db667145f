"""A real Prometheus scrapes the sender, and its alerts fire."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING, Any

import pytest

from support.documents import blocks_of
from support.host import write_private
from support.ports import free_port
from support.programs import TOKENRELAY, wait_for_tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.host import Host
    from support.programs import Program, Start
    from support.provider import Provider

REPOSITORY = Path(__file__).parents[2]
ALERTS = REPOSITORY / "docs" / "alerts.yml"
DAY = 86_400
PROMETHEUS = """
global: {{ scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms }}
alerting: {{ alertmanagers: [{{ static_configs: [{{ targets: ["127.0.0.1:{manager}"] }}] }}] }}
"""
(DOCUMENTED,) = (block.text for block in blocks_of(__file__).values())


class AlertManager(ThreadingHTTPServer):
    """Takes the alerts that Prometheus sends (POST /api/v2/alerts)."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taker)
        self.alerts: Queue[dict[str, Any]] = Queue()

    def wait_for(self, name: str) -> dict[str, Any]:
        while True:
            alert = self.alerts.get(timeout=60)
            if alert["labels"]["alertname"] == name:
                return alert


class _Taker(BaseHTTPRequestHandler):
    server: AlertManager

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        for alert in json.loads(body):
            self.server.alerts.put(alert)
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@pytest.fixture
def alert_manager() -> Iterator[AlertManager]:
    with AlertManager() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def metrics(host: Host, provider: Provider) -> str:
    """The sender's address; its login, a week long, is in its last day."""
    address = f"127.0.0.1:{free_port()}"
    host.configure(
        provider, {"metrics": address}, login_lifetime="7d", warn_before_login_ends=["24h"]
    )
    host.import_login(provider, granted_at=int(time.time()) - 7 * DAY + DAY // 2)
    return address


@pytest.fixture
def prometheus(
    metrics: str, host: Host, start: Start, alert_manager: AlertManager,
    program: Callable[[str], str],
) -> str:  # fmt: skip
    """The address of a Prometheus that scrapes the sender five times a second."""
    config = PROMETHEUS.format(manager=alert_manager.server_port)
    config += DOCUMENTED.replace("127.0.0.1:9464", metrics)
    shutil.copy(ALERTS, host.root)
    write_private(host.root / "prometheus.yml", config)
    address = f"127.0.0.1:{free_port()}"
    server = start(
        program("prometheus"),
        f"--config.file={host.root / 'prometheus.yml'}",
        f"--storage.tsdb.path={host.root / 'tsdb'}",
        f"--web.listen-address={address}",
    )
    server.wait_for(lambda line: "ready to receive web requests" in line.text)
    return address


def query(prometheus: str, expression: str) -> dict[str, float]:
    """The value of each account."""
    address = f"http://{prometheus}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
    with urllib.request.urlopen(address, timeout=10) as response:
        found = json.load(response)["data"]["result"]
    return {one["metric"].get("account", ""): float(one["value"][1]) for one in found}


def test_an_alert_fires_on_a_login_that_ends_soon(
    prometheus: str, alert_manager: AlertManager, host: Host, sender: Program, receiver: Program
) -> None:
    alert = alert_manager.wait_for("TokenrelayLoginEndsSoon")
    assert alert["labels"]["account"] == "main"
    assert "tokenrelay login main" in alert["annotations"]["description"]
    left = query(prometheus, "tokenrelay_login_remaining_seconds")["main"]
    assert 0 < left <= DAY / 2
    assert query(prometheus, "tokenrelay_receivers") == {"main": 1}
    assert query(prometheus, "tokenrelay_deliveries_total")["main"] >= 1
    assert query(prometheus, "up") == {"": 1}


def test_an_alert_fires_on_a_login_that_the_provider_ended(
    prometheus: str, alert_manager: AlertManager, host: Host, sender: Program, receiver: Program
) -> None:
    """The provider has no grace: a refresh token spent behind the sender's back is its end."""
    host.run("refresh")
    wait_for_tokens(receiver, 2)
    host.run("import", str(host.root / "login.json"), "--force")
    receiver.wait_for_event("token", generation=3)
    refused = subprocess.run(
        [*TOKENRELAY, "refresh"], env=host.environment, capture_output=True, text=True,
        timeout=30, check=False,
    )  # fmt: skip
    assert refused.returncode == 4
    assert alert_manager.wait_for("TokenrelayLoginNeeded")["labels"]["account"] == "main"
    attempts = 'tokenrelay_refresh_attempts_total{outcome="%s"}'
    assert query(prometheus, attempts % "granted") == {"main": 1}
    assert query(prometheus, attempts % "refused") == {"main": 1}


def test_each_rule_fires_on_what_it_is_for(short_path: Path, program: Callable[[str], str]) -> None:
    shutil.copy(ALERTS, short_path)
    shutil.copy(Path(__file__).with_name("alerts_test.yml"), short_path)
    for command in (["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]):
        done = subprocess.run(
            [program("promtool"), *command], cwd=short_path, capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
