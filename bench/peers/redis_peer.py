"""Redis pub/sub over the server's Unix socket."""

from __future__ import annotations

import json

import redis

from lab.ledger import now_ns
from peers import arguments
from peers.pacing import Acknowledger, serve_blocks

CHANNEL = "token"


def receive(client: redis.Redis, on_token: Acknowledger) -> None:
    subscription = client.pubsub(ignore_subscribe_messages=True)
    subscription.subscribe(CHANNEL)
    subscription.get_message(timeout=10)
    print("ready", flush=True)
    for message in subscription.listen():
        at = now_ns()
        token = json.loads(message["data"])["access_token"]
        on_token(at, now_ns())
        del token


def main() -> None:
    options = arguments.parse(__doc__ or "", "send", "receive")
    client = redis.Redis(unix_socket_path=options.socket)
    if options.mode == "receive":
        receive(client, Acknowledger(options.ledger, options.ack))
    else:
        serve_blocks(options.ledger, options.ack, lambda frame: client.publish(CHANNEL, frame))


if __name__ == "__main__":
    main()
