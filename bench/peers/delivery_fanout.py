"""tokenrelay's own sender publishing to many receivers (the counterpart of cpp/fanout_send.cpp).

Prints for each publication the ns from publish() to the last callback entered, and to the moment
the sender has every answer.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import anyio
import structlog

from lab.ledger import Ledger, now_ns
from peers.pacing import TOKEN_SIZE
from tokenrelay.sender.clock import SystemClock
from tokenrelay.sender.delivery import Delivery
from tokenrelay.sender.tokens import TokenSet

FAR = 4102444800
SETTLE_SECONDS = 60.0


def delivery_to(sockets: list[Path]) -> Delivery:
    return Delivery(
        "bench",
        runtime_directories=(),
        fixed_paths=sockets,
        include_refresh_token=False,
        allow_uids=(),
        on_refresh_request=lambda serial: None,
        clock=SystemClock(),
        log=structlog.get_logger(),
    )


def next_token(serial: int) -> TokenSet:
    return TokenSet(f"{serial}".ljust(TOKEN_SIZE, "k"), FAR, serial=serial)


async def publish(
    delivery: Delivery, ledger: Ledger, receivers: int, serial: int
) -> tuple[int, int]:
    begun = now_ns()
    delivery.publish(next_token(serial))
    states = await delivery.settle(SETTLE_SECONDS)
    answered = now_ns()
    if any(state.serial != serial for state in states) or len(states) != receivers:
        raise SystemExit(f"not every receiver has taken it: {states}")
    last = max(sample.entered for sample in ledger.samples(0, receivers))
    return last - begun, answered - begun


async def serve(options: argparse.Namespace) -> None:
    sockets = [Path(f"{options.sockets}{slot}.sock") for slot in range(options.receivers)]
    delivery = delivery_to(sockets)
    ledger = Ledger(options.ledger)
    serial = time.time_ns() // 1_000_000
    async with anyio.create_task_group() as group:
        await group.start(run, delivery)
        delivery.publish(next_token(serial))
        await delivery.settle(SETTLE_SECONDS)
        print("ready", flush=True)
        count, gap_ns = map(int, sys.stdin.readline().split())
        for _ in range(count):
            serial += 1
            await anyio.sleep(gap_ns / 1e9)
            print(*await publish(delivery, ledger, options.receivers, serial))
        print("done", flush=True)
        group.cancel_scope.cancel()


async def run(delivery: Delivery, *, task_status: anyio.abc.TaskStatus[None]) -> None:
    await delivery.run(ready=task_status.started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--sockets", required=True, help="prefix; receiver i is at PREFIX<i>.sock")
    parser.add_argument("--receivers", type=int, required=True)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    anyio.run(serve, parser.parse_args())


if __name__ == "__main__":
    main()
