"""Pure Python receivers of a Unix stream: a thread, or asyncio streams."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from typing import TYPE_CHECKING

from lab.ledger import now_ns
from peers import arguments, idle
from peers.pacing import Acknowledger

if TYPE_CHECKING:
    from collections.abc import Callable

ACCEPTED = b'{"ok":true,"generation":1}\n'


def serve_thread(listener: socket.socket, on_token: Callable[[int, int], None]) -> None:
    connection, _ = listener.accept()
    pending = b""
    while received := connection.recv(4096):
        pending += received
        if not pending.endswith(b"\n"):
            continue
        at = now_ns()
        token = json.loads(pending)["access_token"]
        on_token(at, now_ns())
        pending = b""
        del token
        connection.sendall(ACCEPTED)


async def serve_asyncio(path: str, on_token: Callable[[int, int], None]) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            at = now_ns()
            token = json.loads(line)["access_token"]
            on_token(at, now_ns())
            del token
            writer.write(ACCEPTED)

    server = await asyncio.start_unix_server(serve, path)
    print("ready", flush=True)
    await server.serve_forever()


def main() -> None:
    options = arguments.parse(__doc__ or "", "thread", "asyncio")
    on_token = Acknowledger(options.ledger, options.ack)
    if options.mode == "asyncio":
        asyncio.run(serve_asyncio(options.socket, on_token))
        return
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(options.socket)
    listener.listen()
    threading.Thread(target=serve_thread, args=(listener, on_token), daemon=True).start()
    print("ready", flush=True)
    idle.stay(busy=options.busy)


if __name__ == "__main__":
    main()
