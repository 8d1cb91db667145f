"""Fixtures of every test with another program: Schwab on loopback, an account there."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

import pytest
from interop_support import API_KEY, APP_SECRET, Schwab

from support.command import Run, run_command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.host import Host


@pytest.fixture
def schwab_api() -> Iterator[Schwab]:
    with Schwab() as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        yield server
        server.shutdown()
        serving.join()


@pytest.fixture
def run(host: Host) -> Run:
    """A function that runs one command to its end in the host's environment."""
    return partial(run_command, host.environment)


@pytest.fixture
def configured(host: Host, schwab_api: Schwab) -> Host:
    """A host whose account `schwab` has the preset and the local endpoint."""
    host.config.touch(mode=0o600)
    secret = host.root / "secret"
    secret.touch(mode=0o600)
    secret.write_text(APP_SECRET)
    host.config.write_text(
        f'[accounts.schwab]\nprovider = "schwab"\nclient_id = "{API_KEY}"\n'
        f'client_secret_file = "{secret}"\ntoken_url = "{schwab_api.token_url}"\n'
        '[sender]\nlog_format = "json"\n'
    )
    return host
