"""The pages of strict_api.py that a login needs; whoever opens one agrees at once."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Callable

DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"


class LoginPages:
    """Discovery, authorization (RFC 6749 §4.1), device (RFC 8628) and revocation (RFC 7009)."""

    def __init__(self, log_in: Callable[[], dict[str, Any]]) -> None:
        self._log_in = log_in
        self._codes: dict[str, str] = {}  # the redirect_uri of each; "" of a device

    def redeem(self, form: Any) -> dict[str, Any] | None:
        """The token pair for a code that was given out, once; None is ``invalid_grant``."""
        code = form.get("code") or form.get("device_code")
        if code is None or self._codes.pop(code, None) != form.get("redirect_uri", ""):
            return None
        return self._log_in()

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get("/.well-known/openid-configuration", self._discover)
        router.add_get("/authorize", self._authorize)
        router.add_post("/device", self._device)
        router.add_post("/revoke", self._revoke)

    async def _discover(self, request: web.Request) -> web.Response:
        origin = f"http://{request.host}"
        return web.json_response(
            {
                "issuer": origin,
                "authorization_endpoint": f"{origin}/authorize",
                "token_endpoint": f"{origin}/o/token/",
                "device_authorization_endpoint": f"{origin}/device",
                "revocation_endpoint": f"{origin}/revoke",
            }
        )

    async def _authorize(self, request: web.Request) -> web.Response:
        redirect_uri = request.query["redirect_uri"]
        answer = {"code": self._issue(redirect_uri), "state": request.query["state"]}
        raise web.HTTPFound(f"{redirect_uri}?{urlencode(answer)}")

    async def _device(self, request: web.Request) -> web.Response:
        return web.json_response(
            {
                "device_code": self._issue(""),
                "user_code": "WDJB-MJHT",
                "verification_uri": f"http://{request.host}/authorize",
                "expires_in": 600,
                "interval": 1,
            }
        )

    async def _revoke(self, _: web.Request) -> web.Response:
        return web.Response()

    def _issue(self, redirect_uri: str) -> str:
        code = secrets.token_urlsafe(24)
        self._codes[code] = redirect_uri
        return code
