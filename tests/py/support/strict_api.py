"""A provider and its API, over HTTP and gRPC: refuses tokens that are stale or revoked.

A program of its own. Its first line says where it listens; each line `revoke` of its input revokes
the newest access token, each line `login` logs in, and both are answered by a line. `--kept` is how
many of the newest tokens are taken: 1 is a provider that ends a token the moment it issues the
next.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import sys
import time
from base64 import b64encode
from typing import Any

import grpc
import grpc.aio
from aiohttp import web
from strict_login import LoginPages

from tokenrelay.demo.provider import Provider

CLIENT_ID = "strict"
TOKEN_SECONDS = 3600


class StrictProvider(Provider):
    """Takes only the newest tokens, and none that was revoked."""

    def __init__(self, kept: int) -> None:
        super().__init__(TOKEN_SECONDS)
        self._kept, self._issued, self._ended = kept, [], set()
        self.client_secret = secrets.token_urlsafe(24)

    def refresh(self, refresh_token: str) -> dict[str, Any] | None:
        granted = super().refresh(refresh_token)
        if granted is not None:
            self._issued.append(granted["access_token"])
        return granted

    def log_in(self) -> dict[str, Any]:
        login = super().log_in()
        self._issued.append(login["access_token"])
        return login

    def revoke(self) -> None:
        self._ended.add(self._issued[-1])

    def refusal(self, access_token: str) -> str | None:
        if access_token in self._ended:
            return "revoked"
        if access_token in self._issued[: -self._kept]:
            return "stale"
        return super().refusal(access_token)

    @property
    def refreshes(self) -> int:
        return len(self._issued) - 1


class Api:
    """The HTTP server's handlers and their counts."""

    def __init__(self, provider: StrictProvider) -> None:
        self.provider = provider
        self.login_pages = LoginPages(provider.log_in)
        self.calls = self.refused = 0
        self.seen: list[dict[str, Any]] = []

    def check(self, authorization: str) -> str | None:
        """Judge and count one call."""
        scheme, _, token = authorization.partition(" ")
        refusal = self.provider.refusal(token) if scheme == "Bearer" else "missing"
        self.calls += refusal is None
        self.refused += refusal is not None
        return refusal

    async def token(self, request: web.Request) -> web.Response:
        pair = f"{CLIENT_ID}:{self.provider.client_secret}".encode()
        if request.headers.get("Authorization") != f"Basic {b64encode(pair).decode()}":
            return web.json_response({"error": "invalid_client"}, status=401)
        form = await request.post()
        if form["grant_type"] == "refresh_token":
            granted = self.provider.refresh(str(form["refresh_token"]))
        else:
            granted = self.login_pages.redeem(form)
        if granted is None:
            return web.json_response({"error": "invalid_grant"}, status=400)
        return web.json_response(granted)

    async def resource(self, request: web.Request) -> web.Response:
        """Echo the body of a call with a good token."""
        body = await request.read()
        return self._refused(request) or web.Response(body=body or b"ok")

    async def early(self, request: web.Request) -> web.Response:
        """The same, but a bad token is refused before the body is read."""
        return self._refused(request) or web.Response(body=await request.read())

    async def redirect(self, request: web.Request) -> web.Response:
        """Send a call with a good token to where the query says."""
        headers = {"Location": request.query["to"]}
        status = int(request.query.get("status", "302"))
        return self._refused(request) or web.Response(status=status, headers=headers)

    async def open(self, request: web.Request) -> web.Response:
        """Ask for no token, note what came, answer what the query says."""
        self.seen.append(
            {"method": request.method, "authorization": request.headers.get("Authorization")}
        )
        return web.Response(status=int(request.query.get("status", "200")))

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """A websocket that takes its token in the handshake; ends after three messages."""
        if (refused := self._refused(request)) is not None:
            return refused
        return await self._send_ticks(web.WebSocketResponse(), request)

    async def login(self, request: web.Request) -> web.StreamResponse:
        """A websocket whose first message is a login with the bare token, as streamers have it."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        token = (await socket.receive_json())["parameters"]["Authorization"]
        if self.check(f"Bearer {token}") is not None:
            await socket.send_json({"code": 3, "msg": "login denied"})
            return socket
        await socket.send_json({"code": 0, "msg": "ok"})
        return await self._send_ticks(socket, request)

    async def _send_ticks(
        self, socket: web.WebSocketResponse, request: web.Request
    ) -> web.WebSocketResponse:
        if not socket.prepared:
            await socket.prepare(request)
        for number in range(3):
            await socket.send_json({"tick": number})
        await socket.close()
        return socket

    async def report(self, _: web.Request) -> web.Response:
        return web.json_response(
            {
                "refreshes": self.provider.refreshes,
                "calls": self.calls,
                "refused": self.refused,
                "seen": self.seen,
            }
        )

    def _refused(self, request: web.Request) -> web.Response | None:
        refusal = self.check(request.headers.get("Authorization", ""))
        if refusal is None:
            return None
        headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
        return web.json_response({"reason": refusal}, status=401, headers=headers)

    def application(self) -> web.Application:
        application = web.Application(client_max_size=1 << 24)
        application.router.add_post("/o/token/", self.token)
        for path, handler in {
            "/resource/": self.resource,
            "/quotes/": self.resource,
            "/early/": self.early,
            "/redirect/": self.redirect,
            "/open/": self.open,
            "/stream/": self.stream,
            "/login/": self.login,
            "/report/": self.report,
        }.items():
            application.router.add_route("*", path, handler)
        self.login_pages.add_to(application.router)
        return application


class Calls(grpc.GenericRpcHandler):
    """The same API over gRPC: each kind of call echoes what it gets."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def service(self, details: Any) -> Any:
        authorization = dict(details.invocation_metadata).get("authorization", "")

        async def unary(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
            await self._check(context, authorization)
            return request

        # They read to the end first: a grpc.aio client that is refused while it still sends sees
        # INTERNAL instead of UNAUTHENTICATED.
        async def stream(requests: Any, context: grpc.aio.ServicerContext) -> Any:
            unary = isinstance(requests, bytes)
            received = [requests] if unary else [request async for request in requests]
            await self._check(context, authorization)
            for request in received:
                yield request

        async def join(requests: Any, context: grpc.aio.ServicerContext) -> bytes:
            received = [request async for request in requests]
            await self._check(context, authorization)
            return b"".join(received)

        return {
            "/strict/UnaryUnary": grpc.unary_unary_rpc_method_handler(unary),
            "/strict/UnaryStream": grpc.unary_stream_rpc_method_handler(stream),
            "/strict/StreamUnary": grpc.stream_unary_rpc_method_handler(join),
            "/strict/StreamStream": grpc.stream_stream_rpc_method_handler(stream),
        }.get(details.method)

    async def _check(self, context: grpc.aio.ServicerContext, authorization: str) -> None:
        refusal = self._api.check(authorization)
        if refusal is not None:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, refusal)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kept", type=int, default=2)
    api = Api(StrictProvider(parser.parse_args().kept))
    runner = web.AppRunner(api.application())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Calls(api),))
    plain = server.add_insecure_port("127.0.0.1:0")
    local = server.add_secure_port(
        "127.0.0.1:0", grpc.local_server_credentials(grpc.LocalConnectionType.LOCAL_TCP)
    )
    await server.start()
    tell(
        port=runner.addresses[0][1],
        grpc_port=local,
        insecure_grpc_port=plain,
        client_id=CLIENT_ID,
        client_secret=api.provider.client_secret,
        **log_in(api.provider),
    )
    await obey(api.provider)
    await server.stop(None)
    await runner.cleanup()


async def obey(provider: StrictProvider) -> None:
    """Follow the lines of the standard input to its end."""
    while line := await asyncio.to_thread(sys.stdin.readline):
        if line == "revoke\n":
            provider.revoke()
            tell(event="revoked")
        elif line == "login\n":
            tell(event="logged in", **log_in(provider))


def log_in(provider: StrictProvider) -> dict[str, Any]:
    """Return the token pair of a new login, in the plain form of a token file."""
    login = provider.log_in()
    return {
        "access_token": login["access_token"],
        "refresh_token": login["refresh_token"],
        "expires_at": int(time.time()) + TOKEN_SECONDS,
    }


def tell(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
