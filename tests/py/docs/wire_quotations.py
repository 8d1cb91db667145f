"""Provokes the lines of the wire that its description has, with its names for what they say."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from support.raw_sender import Sender
from tokenrelay import TokenReceiver
from tokenrelay.sender import wire

if TYPE_CHECKING:
    from quotations import Scene


def the_answers_to_a_frame(scene: Scene) -> str:
    with TokenReceiver(path=scene.socket), Sender(str(scene.socket)) as sender:
        good = sender.send("one", serial=2)
        sender.send_line("{")
        return _as_variables(good, sender.next_line(), sender.send("other", serial=1))


def a_request_on_the_wire(scene: Scene) -> str:
    with TokenReceiver(path=scene.socket) as receiver, Sender(str(scene.socket)) as sender:
        sender.send("one", serial=2)
        receiver.request_refresh(receiver.wait(10))
        return _as_variables(sender.next_line())


def its_refusal_on_the_wire(_: Scene) -> str:
    return _as_variables(json.loads(wire.encode_refresh_refused("refreshed lately")))


def _as_variables(*lines: dict[str, Any]) -> str:
    """The lines of the wire, with the names that its description gives to what they say."""
    names = {
        "generation": "N",
        "serial": "S",
        "error": '"CODE"',
        "detail": '"TEXT"',
        "reason": '"TEXT"',
    }
    text = "\n".join(json.dumps(line, separators=(",", ":")) for line in lines)
    for key, name in names.items():
        text = re.sub(rf'"{key}":("[^"]*"|\d+)', f'"{key}":{name}', text)
    return text
