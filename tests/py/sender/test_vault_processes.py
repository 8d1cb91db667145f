from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sender_support import NOW, Provider, stored

from tokenrelay.sender.vault import Vault

WORKER = Path(__file__).with_name("vault_worker.py")
PROCESSES, ROUNDS = 8, 5


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    vault = Vault(tmp_path / "main.json")
    vault.store(stored(expires_at=NOW + 10**9))
    return vault


def start(vault: Vault, provider: Provider, rounds: int) -> subprocess.Popen[str]:
    arguments = [sys.executable, str(WORKER), str(vault.path), provider.token_url, str(rounds)]
    worker = subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True,
    )  # fmt: skip
    assert worker.stdout is not None
    assert worker.stdout.readline() == "ready\n"
    return worker


def test_processes_on_one_file_spend_each_refresh_token_once(
    vault: Vault, provider: Provider
) -> None:
    workers = [start(vault, provider, ROUNDS) for _ in range(PROCESSES)]
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    serials = [[int(line) for line in worker.communicate(timeout=50)[0].split()]
               for worker in workers]  # fmt: skip
    token = vault.load()
    assert token is not None
    assert [worker.returncode for worker in workers] == [0] * PROCESSES
    assert provider.reuses == 0
    assert provider.requests == provider.generation
    assert token.refresh_token == f"refresh-{provider.generation}"
    for seen in serials:
        assert len(seen) == ROUNDS
        assert seen == sorted(seen)


@pytest.mark.parametrize("when", ["asked", "answered"])
def test_login_survives_a_kill_in_the_middle_of_a_refresh(
    vault: Vault, provider: Provider, when: str
) -> None:
    """Killed between the request and the answer: the intent is on disk, the next process asks
    again within the provider's grace."""
    provider.grace = True
    provider.hold = threading.Event()
    worker = start(vault, provider, 1)
    assert worker.stdin is not None
    worker.stdin.write("go\n")
    worker.stdin.flush()
    provider.asked.acquire(timeout=30)
    if when == "answered":
        provider.hold.set()
        assert worker.stdout is not None
        worker.stdout.readline()
    worker.send_signal(signal.SIGKILL)
    worker.communicate()
    provider.hold.set()
    assert vault.path.stat().st_mode & 0o777 == 0o600
    json.loads(vault.path.read_text())
    if when == "asked":
        assert vault.load_journal().intent is not None

    done, _ = start(vault, provider, 1).communicate("go\n", timeout=30)
    token = vault.load()
    assert token is not None
    assert done.strip() == str(token.serial)
    assert provider.reuses == 0
    assert token.refresh_token == f"refresh-{provider.generation}"
    assert vault.load_journal().intent is None
