"""One user's directories on one host, as the tests lay them out."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from support.programs import TOKENRELAY

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from support.provider import Provider
    from support.strict import StrictApi


@dataclass(frozen=True, slots=True)
class Host:
    """Runtime, state and configuration below one short path (a socket's is at most 107 bytes)."""

    root: Path

    @property
    def runtime(self) -> Path:
        return self.root / "run"

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def config(self) -> Path:
        return self.root / "tokenrelay.toml"

    @property
    def environment(self) -> dict[str, str]:
        return self.environment_with(self.runtime)

    def environment_with(self, runtime: Path) -> dict[str, str]:
        """Return the environment of a program that uses this runtime directory."""
        return {**os.environ, **self.variables, "TOKENRELAY_RUNTIME_DIR": str(runtime)}

    @property
    def variables(self) -> dict[str, str]:
        """What of the environment makes it this host's."""
        return {
            "HOME": str(self.root),
            "TOKENRELAY_RUNTIME_DIR": str(self.runtime),
            "TOKENRELAY_STATE_DIR": str(self.state),
            "TOKENRELAY_CONFIG": str(self.config),
        }

    def token_file(self, account: str = "main") -> Path:
        return self.state / f"{account}.json"

    def stored_token(self, account: str = "main") -> dict[str, Any]:
        token: dict[str, Any] = json.loads(self.token_file(account).read_text())
        return token

    def configure(
        self,
        provider: Provider | StrictApi,
        /,
        sender: Mapping[str, object] | None = None,
        *,
        name: str = "main",
        **settings: object,
    ) -> None:
        """Write a configuration with one account at this provider."""
        secret = self.root / "client_secret"
        write_private(secret, provider.client_secret)
        account = {
            "provider": "generic",
            "client_id": provider.client_id,
            "client_secret_file": str(secret),
            "token_url": provider.token_url,
            "client_auth": "basic",
            **settings,
        }
        write_private(
            self.config,
            toml_table(f"accounts.{name}", account)
            + toml_table("sender", {"log_format": "json", **(sender or {})}),
        )

    def run(self, *command: str) -> None:
        """Run one `tokenrelay` command to its good end in this host's environment."""
        done = subprocess.run(
            [*TOKENRELAY, *command],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def import_login(
        self, provider: Provider | StrictApi, *, name: str = "main", **fields: object
    ) -> None:
        """Store the provider's first token pair, with more fields, as this account's."""
        self.run("import", str(self.plain_token_file(provider, **fields)), "--account", name)

    def plain_token_file(self, provider: Provider | StrictApi, **fields: object) -> Path:
        """Write the provider's first token pair in the plain form `tokenrelay import` reads."""
        path = self.root / "login.json"
        token = {
            "access_token": provider.access_token,
            "refresh_token": provider.refresh_token,
            "expires_at": provider.expires_at,
            **fields,
        }
        write_private(path, json.dumps(token))
        return path


def toml_table(name: str, values: Mapping[str, object]) -> str:
    """Return one table of a configuration."""
    # JSON's strings, numbers, booleans and arrays of them are TOML's too.
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join([f"[{name}]", *lines, ""])


def write_private(path: Path, text: str) -> None:
    """Write a file that is never open to others."""
    path.touch(mode=0o600)
    path.write_text(text)


def plain_login(number: int = 0) -> str:
    """A token file in the plain form, as `tokenrelay import` takes it."""
    return json.dumps({
        "access_token": f"access-{number}",
        "refresh_token": f"refresh-{number}",
        "expires_at": int(time.time()) + 1800,
    })  # fmt: skip
