"""gRPC server streaming over a Unix socket, as SPIFFE and Envoy's SDS push. Its server sends."""

from __future__ import annotations

import json
import queue
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc

from lab.ledger import now_ns
from peers import arguments
from peers.pacing import Acknowledger, serve_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVICE, METHOD = "bench.Tokens", "Watch"


def serve(address: str, tokens: queue.SimpleQueue[bytes]) -> grpc.Server:
    def watch(_request: bytes, _context: grpc.ServicerContext) -> Iterator[bytes]:
        while True:
            yield tokens.get()

    handler = grpc.method_handlers_generic_handler(
        SERVICE, {METHOD: grpc.unary_stream_rpc_method_handler(watch)}
    )
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((handler,))
    server.add_insecure_port(address)
    server.start()
    return server


def receive(address: str, on_token: Acknowledger) -> None:
    channel = grpc.insecure_channel(address)
    grpc.channel_ready_future(channel).result(timeout=10)
    stream = channel.unary_stream(f"/{SERVICE}/{METHOD}")(b"")
    print("ready", flush=True)
    for message in stream:
        at = now_ns()
        token = json.loads(message)["access_token"]
        on_token(at, now_ns())
        del token


def main() -> None:
    options = arguments.parse(__doc__ or "", "send", "receive")
    address = f"unix:{options.socket}"
    if options.mode == "receive":
        receive(address, Acknowledger(options.ledger, options.ack))
        return
    tokens: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    server = serve(address, tokens)
    serve_blocks(options.ledger, options.ack, tokens.put)
    server.stop(grace=None)


if __name__ == "__main__":
    main()
