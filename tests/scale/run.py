"""One run: a provider, the sender, programs that receive, and what became of them."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1] / "py"))

from support.host import Host, write_private
from support.programs import TOKENRELAY, Program

from .provider import FAULTS

if TYPE_CHECKING:
    from collections.abc import Sequence

REPOSITORY = Path(__file__).parents[2]
PATIENCE = 300.0
DEAD_SHARE = 0.02  # of the accounts, at a provider that never answers


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of one sender; times in seconds. ``expired``: all tokens are, as after a night
    without it, so that everything is refreshed at once."""

    accounts: int
    programs: int = 3
    seconds: float = 600.0
    life: int = 120
    timeout: float = 8.0
    fail: float = 0.05
    seed: int = 1
    expired: bool = False

    @property
    def names(self) -> list[str]:
        return [f"a{number:04}" for number in range(self.accounts)]

    @property
    def dead(self) -> list[str]:
        """Accounts whose provider never answers, besides the others."""
        return [f"dead{number:04}" for number in range(round(self.accounts * DEAD_SHARE))]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was seen; memory in bytes, times in seconds."""

    load: Load
    looks: int
    gaps: int
    least_left: float
    tokens: int
    seen: dict[str, int]
    ages: list[float]
    memory: int
    peak: int
    cpu: float
    seconds: float
    slowest_sync: float

    @property
    def sound(self) -> bool:
        """Every receiver had a valid token whenever it was looked at, and no login was lost."""
        return self.looks > 0 and not self.gaps and not self.seen.get("refused for good")

    def __str__(self) -> str:
        load, seen = self.load, self.seen
        requests, faults = seen.get("requests", 0), sum(seen.get(name, 0) for name in FAULTS)
        return f"""\
{load.accounts} accounts x {load.programs} receivers, {self.seconds:.0f} s, tokens of {load.life} s
  provider: {requests} requests, {faults} failed ({100 * faults / max(requests, 1):.1f} %), \
{seen.get("refused for good", 0)} logins lost; {len(load.dead)} more accounts whose provider never \
answers, asked {seen.get("requests to the dead port", 0)} times
  receivers: {self.tokens} tokens, {self.looks} looks, {self.gaps} without a valid token, \
at least {self.least_left:.1f} s left
  age of a token when replaced: {_spread(self.ages)}
  sender: {self.memory / 2**20:.1f} MiB resident (peak {self.peak / 2**20:.1f}), \
{100 * self.cpu / self.seconds:.2f} % of a core; the disk's slowest fsync took \
{self.slowest_sync:.2f} s"""


def run(load: Load) -> Outcome:
    """Do it. AssertionError where something did not start."""
    root = Path(tempfile.mkdtemp(prefix="relay-", dir="/tmp"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, root, ignore_errors=True)
        host = Host(root)
        provider = _start(stack, host, "provider", f"--life={load.life}", f"--fail={load.fail}",
                          f"--seed={load.seed}")  # fmt: skip
        ports = provider.wait_for_event("ready").fields["ports"]
        _prepare(host, load, *ports)
        # Before the receivers, which want one of the user's inotify descriptors each.
        sender = Program([*TOKENRELAY, "run"], environment=host.environment)
        stack.callback(sender.dispose)
        sender.wait_for_event("ready", timeout=PATIENCE)
        programs = [_start(stack, host, "receivers", *load.names) for _ in range(load.programs)]
        for program in programs:
            program.wait_for_event("ready", timeout=PATIENCE)
        used, began = cpu_seconds(sender.pid), time.monotonic()
        slowest_sync = watch_disk(root / "probe", load.seconds)
        used, lasted = cpu_seconds(sender.pid) - used, time.monotonic() - began
        memory, peak = resident(sender.pid)
        seen = [_end(program) for program in programs]
        assert sender.terminate() == 0
        facts = _end(provider)
    return Outcome(
        load=load,
        looks=sum(one["looks"] for one in seen),
        gaps=sum(one["gaps"] for one in seen),
        least_left=min(one["least_left"] for one in seen),
        tokens=sum(one["tokens"] for one in seen),
        seen=facts["seen"],
        ages=facts["ages"],
        memory=memory,
        peak=peak,
        cpu=used,
        seconds=lasted,
        slowest_sync=slowest_sync,
    )


def watch_disk(probe: Path, seconds: float) -> float:
    """Seconds of the slowest fsync(2) in this time: no refresh can be quicker than the disk."""
    slowest, end = 0.0, time.monotonic() + seconds
    with probe.open("wb", buffering=0) as file:
        while (began := time.monotonic()) < end:
            file.write(b"x")
            os.fsync(file.fileno())
            slowest = max(slowest, time.monotonic() - began)
            # A sample now and then: without a pause this would be the disk's load.
            time.sleep(min(0.5, max(0.0, end - time.monotonic())))
    return slowest


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> tuple[int, int]:
    """Memory of a process now and at its peak, in bytes."""
    lines = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    return int(lines["VmRSS"].split()[0]) << 10, int(lines["VmHWM"].split()[0]) << 10


def _prepare(host: Host, load: Load, healthy: int, dead: int) -> None:
    """The configuration, and logins whose tokens are of every age, as real ones are."""
    host.state.mkdir(mode=0o700)
    random, now = Random(load.seed), int(time.time())
    tables = []
    for names, port in ((load.names, healthy), (load.dead, dead)):
        for name in names:
            tables.append(
                f'[accounts.{name}]\nclient_id = "c"\ntimeout = "{load.timeout}s"\n'
                f'token_url = "http://127.0.0.1:{port}/token"\n'
            )
            issued = now - (load.life if load.expired else random.randrange(load.life // 2))
            token = {
                "access_token": f"access.{name}.0",
                "refresh_token": f"{name}.0",
                "issued_at": issued,
                "expires_at": issued + load.life,
            }
            write_private(host.token_file(name), json.dumps(token))
    tables.append('[sender]\nlog_format = "json"\nlog_level = "info"\n')
    write_private(host.config, "\n".join(tables))


def _start(stack: ExitStack, host: Host, module: str, *arguments: str) -> Program:
    environment = {**host.environment, "PYTHONPATH": str(REPOSITORY)}
    program = Program([sys.executable, "-m", f"tests.scale.{module}", *arguments],
                      environment=environment)  # fmt: skip
    stack.callback(program.dispose)
    return program


def _end(program: Program) -> dict[str, Any]:
    program.close_input()
    return program.wait_for_event("end", timeout=PATIENCE).fields


def _spread(ages: Sequence[float]) -> str:
    if not ages:
        return "none was replaced twice"
    p50, p99 = (ages[min(len(ages) - 1, int(len(ages) * share))] for share in (0.5, 0.99))
    return f"p50 {p50:.1f} s, p99 {p99:.1f} s, most {ages[-1]:.1f} s"
