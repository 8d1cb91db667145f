"""pyzmq PUSH/PULL over ipc://."""

from __future__ import annotations

import json

import zmq

from lab.ledger import now_ns
from peers import arguments
from peers.pacing import Acknowledger, serve_blocks


def receive(context: zmq.Context[zmq.Socket[bytes]], address: str, on_token: Acknowledger) -> None:
    pull = context.socket(zmq.PULL)
    pull.bind(address)
    print("ready", flush=True)
    while True:
        message = pull.recv()
        at = now_ns()
        token = json.loads(message)["access_token"]
        on_token(at, now_ns())
        del token


def main() -> None:
    options = arguments.parse(__doc__ or "", "send", "receive")
    context = zmq.Context()
    address = f"ipc://{options.socket}"
    if options.mode == "receive":
        receive(context, address, Acknowledger(options.ledger, options.ack))
        return
    push = context.socket(zmq.PUSH)
    push.connect(address)
    serve_blocks(options.ledger, options.ack, push.send)


if __name__ == "__main__":
    main()
