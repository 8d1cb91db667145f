"""How a program of the documents ends."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from support.programs import Program


def end(program: Program, until: Sequence[str]) -> None:
    """Wait for its end; where it has none, interrupt it once it has printed what is awaited."""
    line = None
    for text in until:
        line = program.wait_for(lambda line, text=text: text in line.text, after=line)
    if until:
        os.kill(program.pid, signal.SIGINT)
    code = program.wait()
    assert code in ((0,) if not until else (0, 130, -signal.SIGINT)), program.output
