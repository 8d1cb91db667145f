"""What the login's tests share: the command as it runs, and a browser of few words."""

from __future__ import annotations

import json
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

from tokenrelay.sender.authorization import AuthorizationRequest
from tokenrelay.sender.tokens import TokenSet
from tokenrelay.sender.vault import Vault

if TYPE_CHECKING:
    from sender_support import Provider

    from support.host import Host
    from support.programs import Program

LATER = 4102444800
REQUEST = AuthorizationRequest(
    url="https://provider.example/auth?client_id=c&state=the-state",
    redirect_uri="https://127.0.0.1:8182",
    state="the-state",
    verifier="the-verifier",
    issuer="https://provider.example",
)


def configure(host: Host, provider: Provider, /, **settings: Any) -> None:
    """Write a configuration with one account, `main`; None leaves a key out."""
    values = {
        "client_id": "the-client",
        "client_secret": "the-secret",
        "token_url": provider.token_url,
        "authorize_url": f"{provider.origin}/auth",
        **settings,
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items() if value is not None]
    host.config.touch(mode=0o600)
    text = ["[accounts.main]", *lines, "[sender]", 'log_format = "json"', ""]
    host.config.write_text("\n".join(text))


def store_login(host: Host, number: int = 0, **changes: Any) -> TokenSet:
    """What an earlier login left, valid for a long time."""
    token = TokenSet(f"access-{number}", LATER, f"refresh-{number}", granted_at=int(time.time()))
    return Vault(host.token_file()).store(token.replace(**changes))


def fetch(url: str, *, method: str = "GET") -> tuple[int, str]:
    """Status and page, of a server whose certificate nobody knows."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    opener = urllib.request.build_opener(*handlers)
    try:
        with opener.open(urllib.request.Request(url, method=method), timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@dataclass(frozen=True)
class LoginCommand:
    """A started `tokenrelay login`, seen by the browser that it is waiting for."""

    program: Program
    port: int

    @property
    def url(self) -> str:
        """The printed address, once the callback is answered."""
        self.program.wait_for(lambda line: line.text.startswith(("Waiting", "Copy the whole")))
        return next(line.text.strip() for line in self.program.lines if "/auth?" in line.text)

    @property
    def asked(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.url).query).items()}

    def redirected(self, **fields: str) -> str:
        """The address to which the provider would send the browser."""
        asked = self.asked
        return f"{asked['redirect_uri']}?{urlencode({'state': asked['state'], **fields})}"

    def call_back(self, **fields: str) -> tuple[int, str]:
        return fetch(self.redirected(**fields))

    def wait_for_note(self, text: str) -> None:
        self.program.wait_for(lambda line: text in line.text)
