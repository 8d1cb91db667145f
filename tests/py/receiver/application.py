"""A gunicorn application; `--preload` imports it, and so starts the receiver, in the parent."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from tokenrelay import TokenReceiver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

receiver = TokenReceiver("main").start()


def application(
    _environ: dict[str, Any], start_response: Callable[[str, list[tuple[str, str]]], Any]
) -> Iterable[bytes]:
    token = receiver.wait(timeout=20)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"pid": os.getpid(), "token": token.access_token}).encode()]
