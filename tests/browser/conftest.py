"""Fixtures of the browser tests: a provider, a browser, a receiver.

They need Chromium (Debian: chromium chromium-driver), so they are no part of the ordinary suite:
    pip install -r tests/browser/requirements.txt && pytest tests/browser
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "py"))

from browser_support import BUILD, OidcProvider, start_browser, start_oidc_provider

from support.fixtures import host, short_path, start
from support.ports import free_port
from support.programs import RECEIVE, Program, Start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from selenium.webdriver import Chrome

    from support.host import Host

__all__ = ["host", "short_path", "start"]


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def provider(port: int) -> Iterator[OidcProvider]:
    """oidc-provider, which knows the clients `desktop` (http) and `trader` (https)."""
    provider = start_oidc_provider(
        {
            "desktop": ["http://127.0.0.1/callback"],
            "trader": [f"https://127.0.0.1:{port}"],
        }
    )
    yield provider
    provider.program.dispose()


@pytest.fixture
def browser(host: Host) -> Iterator[Chrome]:
    """Chromium; our callback's certificate is one that no browser knows."""
    browser = start_browser(host.root / "profile", "--ignore-certificate-errors")
    yield browser
    browser.quit()


@pytest.fixture
def wary_browser(host: Host) -> Iterator[Chrome]:
    """Chromium as a user has it: it warns of a certificate that nobody signed."""
    browser = start_browser(host.root / "profile")
    yield browser
    browser.quit()


@pytest.fixture
def receiver(start: Start, provider: OidcProvider) -> Program:
    """A receiver in another process, which calls an API of the provider with each token."""
    receiver = start(*RECEIVE, "--resource", f"{provider.issuer}/me")
    receiver.wait_for_event("ready")
    return receiver


@pytest.fixture
def screenshot(request: pytest.FixtureRequest) -> Callable[[Chrome], None]:
    """A function that keeps what the browser shows under build/."""

    def keep(browser: Chrome) -> None:
        BUILD.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"\W+", "-", request.node.name).strip("-")
        assert browser.save_screenshot(str(BUILD / f"{name}.png"))

    return keep
