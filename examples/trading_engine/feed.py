"""Run the engine between a provider whose tokens live 3 s and the real sender, once a second.

python feed.py ENGINE SECONDS; the exit code is the engine's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

LIFETIME = "3"
CONFIG = """\
[accounts.engine]
provider = "generic"
token_url = "{url}/token"
client_id = "{client_id}"
client_secret_file = "{directory}/client_secret"
token_file = "{directory}/engine.json"
refresh_every = "1s"
sockets = ["{directory}/engine.sock"]
"""


@contextmanager
def running(*command: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A process that is ended on the way out."""
    with subprocess.Popen(command, text=True, **options) as process:
        try:
            yield process
        finally:
            process.terminate()


def write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


def lay_out(directory: Path, login: dict[str, Any]) -> Path:
    """The files that `tokenrelay init` and a login leave; the configuration's path."""
    write_private(directory / "client_secret", login["client_secret"])
    expires_at = login["issued_at"] + login["expires_in"]
    names = ("access_token", "refresh_token", "issued_at")
    token = {name: login[name] for name in names} | {"expires_at": expires_at}
    write_private(directory / "engine.json", json.dumps(token))
    config = directory / "tokenrelay.toml"
    write_private(config, CONFIG.format(directory=directory, **login))
    return config


def main(engine: str, seconds: str) -> int:
    tokenrelay = (sys.executable, "-m", "tokenrelay")
    provider_command = (sys.executable, "-m", "tokenrelay.demo.api", LIFETIME)
    with tempfile.TemporaryDirectory(prefix="engine-") as name:
        directory = Path(name)
        own = {f"TOKENRELAY_{kind}_DIR": f"{directory}/{kind}" for kind in ("RUNTIME", "STATE")}
        environment = {**os.environ, **own}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with running(*provider_command, **pipes) as provider:
            config = lay_out(directory, json.loads(provider.stdout.readline()))
            # Nobody reads its reports, but a full pipe would stop it.
            threading.Thread(target=provider.stdout.read, daemon=True).start()
            quiet = {"stderr": subprocess.DEVNULL, "env": environment}
            with running(*tokenrelay, "run", "--config", str(config), **quiet):
                return subprocess.call([engine, f"{directory}/engine.sock", seconds])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
