"""A bot: LumiBot's Schwab broker, which asks for the accounts once a line of its standard input.

``bot.py ORIGIN``: what is meant for Schwab goes to ORIGIN; nothing else is changed.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import requests.adapters

send = requests.adapters.HTTPAdapter.send


def send_here(self: Any, request: Any, **options: Any) -> Any:
    request.url = request.url.replace("https://api.schwabapi.com", sys.argv[1])
    return send(self, request, **options)


def tell(event: str, **fields: Any) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)


if __name__ == "__main__":
    requests.adapters.HTTPAdapter.send = send_here  # type: ignore[method-assign]
    from lumibot.brokers.schwab import Schwab

    broker = Schwab(config={})
    tell("ready")
    for _ in sys.stdin:
        tell("asked", status=broker.client.get_account_numbers().status_code)
