"""The callback as somebody pasted it into a terminal. Pure but for `read_pasted`."""

from __future__ import annotations

import os
import re
import select
import time
from typing import TYPE_CHECKING

from tokenrelay.sender.authorization import NotOurCallback, read_callback
from tokenrelay.sender.errors import SenderError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenrelay.sender.authorization import AuthorizationRequest

MAXIMUM_PASTE_BYTES = 65_536
# A paste comes at once, also in several lines; a person starts the next one later.
QUIET_SECONDS = 0.3
# What mail programs, shells and terminals put around and into a URL.
NOISE = re.compile(r"\x1b\[20[01]~|[\s\x00-\x1f\x7f'\"`<>\\“”‘’«»\u200b\ufeff]")  # noqa: RUF001


def read_url(text: str, request: AuthorizationRequest) -> str:
    """The authorization code in a redirected URL, as pasted. Raises as `read_callback` does."""
    url = NOISE.sub("", text)
    if not url:
        raise NotOurCallback("nothing was pasted")
    if url.startswith(NOISE.sub("", request.url)[:60]):
        raise NotOurCallback(
            "this is the address of the login page; paste the one that the browser shows after the "
            "login, though the page there cannot be reached"
        )
    query = url.partition("?")[2] or url
    if "=" not in query:
        raise NotOurCallback("it has no state: paste the whole address, not the code alone")
    return read_callback(query.partition("#")[0], request)


def read_pasted(
    request: AuthorizationRequest,
    *,
    descriptor: int,
    patience: float,
    note: Callable[[str], None],
) -> str:
    """The authorization code out of what arrives at ``descriptor``; asks again until it fits.

    Blocks, at most ``patience`` seconds. SenderError where the input ends first.
    """
    deadline, text = time.monotonic() + patience, b""
    while True:
        quiet = QUIET_SECONDS if text else deadline - time.monotonic()
        more = _read(descriptor, quiet)
        if more:
            text += more
            if len(text) > MAXIMUM_PASTE_BYTES:
                raise SenderError("what was pasted is too long for a redirected address")
            continue
        if more is None and not text:
            raise SenderError("nothing was pasted in time; start again with the same command")
        problem = "the input ended"
        if text.strip():
            try:
                return read_url(text.decode("utf-8", "replace"), request)
            except NotOurCallback as error:
                problem = str(error)
                note(f"That is not it: {problem}. Paste the address again:")
        if more == b"":
            raise SenderError(f"no usable address was pasted: {problem}")
        text = b""


def _read(descriptor: int, seconds: float) -> bytes | None:
    """What is there within ``seconds``; empty at the end of the input, None where nothing came."""
    ready, _, _ = select.select([descriptor], [], [], max(0.0, seconds))
    return os.read(descriptor, MAXIMUM_PASTE_BYTES) if ready else None
