"""One program with a receiver of every account: ``python -m tests.scale.receivers ACCOUNT…``.

It looks at each receiver's token all the time, prints once each has one, and after the end of its
input what it saw.
"""

from __future__ import annotations

import json
import resource
import sys
import threading
from contextlib import ExitStack

from tokenrelay import TokenReceiver

PAUSE_SECONDS = 0.05


def main() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    ended = threading.Event()
    with ExitStack() as stack:
        receivers = [stack.enter_context(TokenReceiver(name)) for name in sys.argv[1:]]
        print(json.dumps({"event": "listening"}), flush=True)
        for receiver in receivers:
            receiver.wait(timeout=300)
        print(json.dumps({"event": "ready"}), flush=True)
        threading.Thread(target=_wait_for_the_end, args=(ended,), daemon=True).start()
        print(json.dumps({"event": "end", **watch(receivers, ended)}), flush=True)


def watch(receivers: list[TokenReceiver], ended: threading.Event) -> dict[str, object]:
    """Look until the end; ``gaps`` are looks that found no valid token."""
    looks = gaps = 0
    least = float("inf")
    while not ended.wait(PAUSE_SECONDS):
        for receiver in receivers:
            token = receiver.token
            left = -1.0 if token is None else token.expires_in
            least = min(least, left)
            gaps += left <= 0
        looks += len(receivers)
    latencies = [receiver.stats.native_p99_ns for receiver in receivers]
    return {
        "looks": looks,
        "gaps": gaps,
        "least_left": least,
        "tokens": sum(receiver.stats.published for receiver in receivers),
        "native_p99_ns": max(latencies),
    }


def _wait_for_the_end(ended: threading.Event) -> None:
    sys.stdin.read()
    ended.set()


if __name__ == "__main__":
    main()
