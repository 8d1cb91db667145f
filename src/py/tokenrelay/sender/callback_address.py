"""Where ``redirect_uri`` sends the browser. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from tokenrelay.sender.config_values import is_loopback

DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class CallbackAddress:
    """What has to listen, and the one path that is answered there."""

    secure: bool
    host: str
    port: int
    path: str

    @property
    def origin(self) -> str:
        """As a browser writes it, for people."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.secure else 'http'}://{host}:{self.port}"


def callback_address(redirect_uri: str) -> CallbackAddress:
    """The address in a checked URL; ValueError where no browser here would reach us."""
    parts = urlsplit(redirect_uri)
    host, port = parts.hostname or "", parts.port
    if not is_loopback(host):
        raise ValueError(f"{host} is not this machine's loopback, so nothing can listen there")
    if port == 0:
        raise ValueError("port 0 is no port")
    return CallbackAddress(
        secure=parts.scheme == "https",
        host=host,
        port=port or DEFAULT_PORTS[parts.scheme],
        # A browser asks for "/" where the URL has no path, RFC 9110 §4.2.3.
        path=parts.path or "/",
    )
