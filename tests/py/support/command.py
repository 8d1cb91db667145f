"""Running `tokenrelay` to its end, as a user would."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Protocol

from support.programs import TOKENRELAY

if TYPE_CHECKING:
    from collections.abc import Mapping


class Run(Protocol):
    """Runs one command in the host's environment (the fixture `run`)."""

    def __call__(
        self, *arguments: str, succeed: bool = True, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]: ...


def run_command(
    environment: Mapping[str, str], *arguments: str, succeed: bool = True, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Return what it printed; fail at a traceback and, if it has to succeed, where it does not."""
    done = subprocess.run(
        [*TOKENRELAY, *arguments],
        env=dict(environment),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert not succeed or done.returncode == 0, done.stdout + done.stderr
    return done
