"""A terminal as a user has it: a shell in tmux, whose screen can be waited for."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING, Self

from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

PROMPT = "$ "


class Terminal:
    """One shell of 100 columns and 30 lines in ``folder``, on a tmux server of its own.

    ``directory`` is for its own files; short, as a socket's path must be.
    """

    def __init__(
        self, directory: Path, environment: Mapping[str, str], *, folder: Path | None = None
    ) -> None:
        tmux = shutil.which("tmux")
        assert tmux is not None, "this test needs: apt-get install tmux"
        self._folder = folder or directory
        self._tmux = (tmux, "-S", str(directory / "tmux.sock"), "-f", "/dev/null")
        self._log = directory / "terminal" / "log"
        self._log.parent.mkdir()
        self._settings = directory / "bashrc"
        self._settings.write_text(f"PS1='{PROMPT}'\n")
        self._environment = {**environment, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}

    def __enter__(self) -> Self:
        self._do(
            "new-session",
            "-d",
            "-x",
            "100",
            "-y",
            "30",
            f"bash --rcfile {shlex.quote(str(self._settings))}",
        )
        self._do("pipe-pane", f"cat >> {shlex.quote(str(self._log))}")
        self.type("")
        self.wait_for(lambda screen: PROMPT.strip() in screen)
        return self

    def __exit__(self, *error: object) -> None:
        subprocess.run([*self._tmux, "kill-server"], check=False, capture_output=True)

    @property
    def screen(self) -> str:
        """What is to be seen now, without blanks at the ends of lines."""
        lines = self._do("capture-pane", "-p").splitlines()
        return "\n".join(line.rstrip() for line in lines).rstrip()

    @property
    def asks(self) -> bool:
        """Whether a question ends what was written last, and an answer would be read."""
        return self._log.read_text(errors="replace").endswith(": ")

    @property
    def transcript(self) -> str:
        """Everything since the beginning, what has left the screen included."""
        lines = self._do("capture-pane", "-p", "-J", "-S", "-").splitlines()
        return "\n".join(line.rstrip() for line in lines).strip()

    def type(self, text: str) -> None:
        """Type a line and press Enter."""
        self._do("send-keys", "-l", text)
        self._do("send-keys", "Enter")

    def press(self, key: str) -> None:
        """Press one key, as tmux(1) names it: C-c."""
        self._do("send-keys", key)

    def wait_for(self, condition: Callable[[str], bool], *, timeout: float = 60.0) -> str:
        """Wait until the screen is so; looks at it whenever something is written to it."""
        try:
            wait_until(lambda: condition(self.screen), self._log.parent, timeout=timeout)
        except AssertionError:
            raise AssertionError(f"not within {timeout} s; the screen is\n{self.screen}") from None
        return self.screen

    def _do(self, *command: str) -> str:
        done = subprocess.run(
            [*self._tmux, *command], env=self._environment, capture_output=True, text=True,
            timeout=30, check=True,
        )  # fmt: skip
        return done.stdout
