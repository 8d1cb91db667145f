"""A sender whose disk takes no new token."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from support.programs import TOKENRELAY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.host import Host
    from support.programs import Program, Start


@contextmanager
def sender_with_an_unsaved_token(host: Host, start: Start) -> Iterator[tuple[Program, int]]:
    """A sender whose refreshed token of ``main`` is in memory alone, and its process: strace(1),
    which it runs under, answers each fsync(2) of the new token file with EIO."""
    new_file = host.token_file().with_name(f".{host.token_file().name}.new")
    injected = ("-P", new_file, "-e", "trace=fsync", "-e", "inject=fsync:error=EIO")
    program = start("strace", "-f", "-qq", "-o", "/dev/null", *injected, *TOKENRELAY, "run")
    sender = program.wait_for_event("ready").fields["pid"]
    try:
        program.wait_for_event("token not saved")
        yield program, sender
    finally:
        # It outlives strace, and would hold the test's pipes.
        with suppress(ProcessLookupError):
            os.kill(sender, signal.SIGKILL)
