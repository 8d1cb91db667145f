"""What is known of a provider, as defaults of the account's configuration keys."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

# Schwab: tokens live 30 minutes, a login 7 days from the login itself, whatever is refreshed in
# between; the callback must be https on loopback. No client of it is known to send PKCE.
SCHWAB: Mapping[str, Any] = MappingProxyType(
    {
        "token_url": "https://api.schwabapi.com/v1/oauth/token",
        "authorize_url": "https://api.schwabapi.com/v1/oauth/authorize",
        "redirect_uri": "https://127.0.0.1:8182",
        "client_auth": "basic",
        "pkce": False,
        "token_lifetime": "30m",
        "login_lifetime": "7d",
    }
)

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {"generic": MappingProxyType({}), "schwab": SCHWAB}
)

# A new login there ends the one before.
ONE_LOGIN_ONLY = frozenset({"schwab"})
