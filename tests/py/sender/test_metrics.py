"""What a scrape of the sender shows, over TCP and over a Unix socket."""

from __future__ import annotations

import http.client
import json
import os
import re
import resource
import socket
import stat
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.to_thread import run_sync

from support.command import run_command
from support.host import write_private
from support.listener import Listener, line, socket_name
from support.ports import free_port
from support.programs import TOKENRELAY
from tokenrelay.sender import peers
from tokenrelay.sender.clock import SystemClock
from tokenrelay.sender.errors import SenderError
from tokenrelay.sender.metrics import Metrics

if TYPE_CHECKING:
    from pathlib import Path

    from support.host import Host
    from support.programs import Program, Start

LATER = 4102444800
BLOCK = """
import sys
sys.modules["prometheus_client"] = None
sys.argv[0] = "tokenrelay"
from tokenrelay.__main__ import main
sys.exit(main())
"""


def configure(host: Host, metrics: str | Path) -> None:
    """One account whose token outlives the test, and nobody to refresh it."""
    write_private(
        host.config,
        '[accounts.main]\nclient_id = "c"\ntoken_url = "http://127.0.0.1:9/token"\n'
        f'[sender]\nlog_format = "json"\nmetrics = "{metrics}"\n',
    )
    host.state.mkdir(mode=0o700, exist_ok=True)
    now = int(time.time())
    token = {
        "access_token": "access-secret",
        "refresh_token": "refresh-secret",
        "expires_at": now + 1800,
        "issued_at": now,
        "serial": 5,
        "grant_expires_at": LATER,
    }
    write_private(host.token_file(), json.dumps(token))


def run_without_the_extra(host: Host, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BLOCK, "run", *options],
        env=host.environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def start_sender(start: Start) -> Program:
    sender = start(*TOKENRELAY, "run")
    sender.wait_for_event("ready")
    return sender


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=10)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(str(self.path))


def lowest_free_descriptor() -> int:
    free = os.dup(0)
    os.close(free)
    return free


def scrape(connection: http.client.HTTPConnection) -> dict[str, float]:
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    assert "secret" not in text
    return {
        found[1]: float(found[2])
        for found in re.finditer(r"^([a-z]\S*) (\S+)$", text, re.MULTILINE)
    }


def test_a_scrape_shows_receivers_deliveries_and_the_time_left(host: Host, start: Start) -> None:
    port = free_port()
    configure(host, f"127.0.0.1:{port}")
    sender = start_sender(start)
    with Listener(host.runtime / "main" / socket_name()):
        sender.wait_for_event("delivered")
        found = scrape(http.client.HTTPConnection("127.0.0.1", port, timeout=10))
    account = '{account="main"}'
    assert found[f"tokenrelay_receivers{account}"] == 1
    assert found[f"tokenrelay_deliveries_total{account}"] == 1
    assert found[f"tokenrelay_delivery_latency_seconds_count{account}"] == 1
    assert 1700 < found[f"tokenrelay_token_remaining_seconds{account}"] <= 1800
    assert found[f"tokenrelay_login_remaining_seconds{account}"] > 0
    assert found[f"tokenrelay_login_ends_soon{account}"] == 0
    assert found[f"tokenrelay_login_needed{account}"] == 0
    assert found["process_resident_memory_bytes"] > 0


def test_a_scrape_shows_refusals_by_code_and_attempts_by_outcome(host: Host, start: Start) -> None:
    port = free_port()
    configure(host, f"127.0.0.1:{port}")
    sender = start_sender(start)
    for code in ("malformed", "made-up-by-the-receiver"):
        refusal = line(ok=False, error=code, detail="x")
        with Listener(host.runtime / "main" / socket_name(), lambda _, answer=refusal: answer):
            sender.wait_for_event("receiver not served", error=f"refused: {code}: x")
    failed = subprocess.run(
        [*TOKENRELAY, "refresh"], env=host.environment, capture_output=True, timeout=60, check=False
    )
    assert failed.returncode == 1, "nobody answers at that port"
    found = scrape(http.client.HTTPConnection("127.0.0.1", port, timeout=10))
    assert found['tokenrelay_delivery_rejects_total{account="main",code="malformed"}'] == 1
    assert found['tokenrelay_delivery_rejects_total{account="main",code="other"}'] == 1
    assert found['tokenrelay_refresh_attempts_total{account="main",outcome="undone"}'] >= 1
    assert found['tokenrelay_refresh_failures{account="main"}'] >= 1


def test_a_private_socket_serves_them_too_and_goes_with_the_sender(
    host: Host, start: Start
) -> None:
    path = host.root / "metrics.sock"
    configure(host, path)
    sender = start_sender(start)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert scrape(UnixConnection(path))['tokenrelay_receivers{account="main"}'] == 0
    assert sender.terminate() == 0
    assert not path.exists()


def test_a_client_that_asks_nothing_delays_nobody(host: Host, start: Start) -> None:
    port = free_port()
    configure(host, f"127.0.0.1:{port}")
    start_sender(start)
    with socket.create_connection(("127.0.0.1", port)):
        assert scrape(http.client.HTTPConnection("127.0.0.1", port, timeout=10))


def test_an_address_in_use_is_told_before_anything_is_served(host: Host, start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        configure(host, f"127.0.0.1:{other.getsockname()[1]}")
        sender = start(*TOKENRELAY, "run")
        assert sender.wait() == 1
    assert "sender.metrics: nothing can listen at 127.0.0.1" in sender.output


def test_a_file_at_the_sockets_path_is_left_alone(host: Host, start: Start) -> None:
    path = host.root / "notes.txt"
    path.write_text("mine")
    configure(host, path)
    sender = start(*TOKENRELAY, "run")
    assert sender.wait() == 1
    assert "what is there is no socket" in sender.output
    assert path.read_text() == "mine"


def test_another_programs_socket_is_left_alone(short_path: Path) -> None:
    path = short_path / "s"
    with (
        Listener(path),
        pytest.raises(SenderError, match="another program listens there"),
        Metrics(str(path), clock=SystemClock()),
    ):
        pass
    with Metrics(str(path), clock=SystemClock()):
        path.unlink()
        other = peers.listen(path)
    assert path.exists(), "the socket that stands there now is not the one that was made"
    other.close()
    with Metrics(str(path), clock=SystemClock()):
        assert peers.identify(path), "what a program left that is gone is in nobody's way"


@pytest.mark.anyio
async def test_without_descriptors_a_scrape_waits_and_nothing_spins(short_path: Path) -> None:
    path = short_path / "s"
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Metrics(str(path), clock=SystemClock()) as metrics:
        client = UnixConnection(path)
        client.connect()
        tries: list[float] = []
        thrice = anyio.Event()

        class Noting(socket.socket):
            def accept(self) -> tuple[socket.socket, Any]:
                tries.append(time.monotonic())
                if len(tries) == 3:
                    thrice.set()
                return super().accept()

        metrics._server.socket = Noting(fileno=metrics._server.socket.detach())
        async with anyio.create_task_group() as group:
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free_descriptor(), limits[1]))
            try:
                group.start_soon(metrics.run, list)
                with anyio.fail_after(10):
                    await thrice.wait()
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            assert tries[2] - tries[0] > 0.15
            found = await run_sync(scrape, client)
            group.cancel_scope.cancel()
    assert found["process_resident_memory_bytes"] > 0


@pytest.mark.parametrize("where", ["127.0.0.1:9464", "/nonexistent/metrics.sock"])
def test_without_the_extra_the_sender_says_what_to_install(host: Host, where: str) -> None:
    configure(host, where)
    done = run_without_the_extra(host)
    assert done.returncode == 3
    assert "pip install 'tokenrelay[sender,metrics]'" in done.stderr


def test_a_sender_that_cannot_begin_replaces_nobody(host: Host, start: Start) -> None:
    configure(host, host.root / "metrics.sock")
    sender = start_sender(start)
    assert run_without_the_extra(host, "--replace").returncode == 3
    status = json.loads(run_command(host.environment, "status", "--json").stdout)
    assert status["sender"]["pid"] == sender.pid
