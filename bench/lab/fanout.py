"""One publication to 1, 10, 100, 1000 receivers, each in a process of its own."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lab.conductor import scratch_directory
from lab.ledger import Ledger
from lab.lines import Lines, SilentError
from lab.report import heading, line
from lab.statistics import percentiles

if TYPE_CHECKING:
    from collections.abc import Sequence

BENCH = Path(__file__).resolve().parent.parent
COUNTS = (1, 10, 100, 1000)
PUBLICATIONS = 100
WARM_UP = 5
GAP_NS = 5_000_000
SECONDS = 120.0
C_SENDER = ("{bin}/fanout_send",)
OWN_SENDER = (sys.executable, "-m", "peers.delivery_fanout")
ROWS = (
    ("C sender, epoll + recv", C_SENDER, ("receive_floor", "--mode", "epoll")),
    ("C sender, tokenrelay", C_SENDER, ("receive_tokenrelay",)),
    ("own sender, tokenrelay", OWN_SENDER, ("receive_tokenrelay",)),
)


@dataclass(frozen=True, slots=True)
class Fanout:
    name: str
    receivers: int
    last_entered_ns: list[int]
    last_answered_ns: list[int]
    memory_kib: float  # a receiver's proportional share, with the bare process it lives in
    threads: float  # of a receiver


def run(programs: Path, *, quick: bool) -> list[Fanout]:
    raise_descriptor_limit()
    results = []
    for receivers in COUNTS[:3] if quick else COUNTS:
        for name, sender, receiver in ROWS:
            try:
                results.append(measure(name, sender, receiver, receivers, programs))
            except (OSError, SilentError) as error:
                print(f"left out: {name}, {receivers} receivers: {error}")
    return results


def raise_descriptor_limit() -> None:
    """As far as we may: a thousand receivers are two thousand pipes and a thousand sockets."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def measure(
    name: str, sender: Sequence[str], receiver: Sequence[str], receivers: int, programs: Path
) -> Fanout:
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(scratch_directory()))
        ledger = scratch / "ledger"
        Ledger.create(ledger)
        children = [
            start(
                stack,
                [
                    *(str(programs / receiver[0]), *receiver[1:], "--ledger", str(ledger)),
                    *("--socket", str(scratch / f"{slot}.sock"), "--slot", str(slot)),
                ],
            )
            for slot in range(receivers)
        ]
        for child in children:
            Lines(child).until("ready", SECONDS)
        process = start(
            stack,
            [
                *(part.format(bin=programs) for part in sender),
                *("--ledger", str(ledger), "--sockets", f"{scratch}/"),
                *("--receivers", str(receivers)),
            ],
        )
        entered, answered = publications(process)
        pids = [child.pid for child in children]
        return Fanout(
            name,
            receivers,
            entered,
            answered,
            sum(map(memory_kib, pids)) / receivers,
            sum(map(threads, pids)) / receivers,
        )


def publications(sender: subprocess.Popen[bytes]) -> tuple[list[int], list[int]]:
    lines = Lines(sender)
    lines.until("ready", SECONDS)
    assert sender.stdin is not None
    sender.stdin.write(f"{WARM_UP + PUBLICATIONS} {GAP_NS}\n".encode())
    sender.stdin.flush()
    pairs = [text.split() for text in lines.until("done", SECONDS)][WARM_UP:]
    return [int(entered) for entered, _ in pairs], [int(answered) for _, answered in pairs]


def start(stack: ExitStack, command: list[str]) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=BENCH,
        env=os.environ | {"PYTHONPATH": str(BENCH)},
    )
    stack.enter_context(process)
    stack.callback(process.kill)
    return process


def memory_kib(pid: int) -> int:
    """PSS: shared pages, such as the program's text, are divided among those who share them."""
    for text in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if text.startswith("Pss:"):
            return int(text.split()[1])
    raise SilentError(f"no Pss in smaps_rollup of {pid}")


def threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def table(results: Sequence[Fanout]) -> str:
    lines = [heading("first send to the last callback entered, µs")]
    lines += [line(title(of), percentiles(of.last_entered_ns)) for of in results]
    lines.append(heading("first send to the last answer, µs"))
    lines += [line(title(of), percentiles(of.last_answered_ns)) for of in results]
    lines.append("\nper receiver process: memory (PSS, KiB), threads")
    lines += [f"{title(of):<48} {of.memory_kib:>9.0f} {of.threads:>9.1f}" for of in results]
    return "\n".join(lines)


def title(of: Fanout) -> str:
    return f"{of.name}, {of.receivers} receiver{'s' if of.receivers > 1 else ''}"


def raw(results: Sequence[Fanout]) -> list[dict[str, object]]:
    return [asdict(of) for of in results]
