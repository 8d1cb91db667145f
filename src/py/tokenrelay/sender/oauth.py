"""The provider's token endpoint: a refresh is one POST, its outcome told apart (RFC 6749 §6)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus, urlencode, urlsplit

from authlib.oauth2.auth import ClientAuth

from tokenrelay.sender.clock import Clock, SystemClock
from tokenrelay.sender.discovery import Endpoints, configured_endpoints, discover
from tokenrelay.sender.http_client import (
    Answer,
    ClientFactory,
    NoAnswerError,
    default_client,
    exchange,
)
from tokenrelay.sender.logs import redactor
from tokenrelay.sender.meter import NO_METER, Meter
from tokenrelay.sender.oauth_response import Kind, Outcome, classify, lost_answer, presentable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenrelay.sender.config import Account

AUTHLIB_METHODS = {"basic": "client_secret_basic", "post": "client_secret_post", "none": "none"}
SECRET_FIELDS = ("refresh_token", "code", "code_verifier", "device_code", "token")


class TokenEndpoint:
    """One account's token endpoint. Never retries by itself."""

    def __init__(
        self,
        account: Account,
        *,
        client_factory: ClientFactory | None = None,
        clock: Clock | None = None,
        meter: Meter = NO_METER,
    ) -> None:
        self._account, self._meter = account, meter
        self._client_factory = client_factory or default_client
        self._clock = clock or SystemClock()
        self._endpoints = configured_endpoints(account)
        self._asked_issuer = account.issuer is None
        # Not among the account's tokens: it outlives them.
        redactor.register(self._secret, owner=f"{account.name} client")

    @property
    def endpoints(self) -> Endpoints:
        """What is known by now; `locate` completes it."""
        return self._endpoints

    async def locate(self, wanted: str = "token_url") -> Outcome | None:
        """Finds the endpoints through the issuer, once, if ``wanted`` is not known; an outcome if
        that failed. One that the issuer does not name stays None."""
        if getattr(self._endpoints, wanted) is not None or self._asked_issuer:
            return None
        try:
            self._endpoints = await discover(self._account, self._client_factory)
            self._asked_issuer = True
        except NoAnswerError as error:
            return lost_answer(_no_answer(str(self._account.issuer), error), sent=False)
        except ValueError as error:
            return Outcome(Kind.MISCONFIGURED, str(error), unsent=True)
        return None

    async def refresh(self, refresh_token: str, *, deadline: float | None = None) -> Outcome:
        """Spends ``refresh_token`` in one request; ``deadline`` as for `request`."""
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        began = time.perf_counter()
        outcome = await self.request(form, deadline=deadline)
        self._meter.refreshed(outcome.kind.value, time.perf_counter() - began)
        return outcome

    async def request(self, form: Mapping[str, str], *, deadline: float | None = None) -> Outcome:
        """One POST of ``form`` with the client's authentication; raises nothing. ``deadline``:
        seconds, else the account's ``timeout``."""
        if failure := await self.locate():
            return failure
        url = str(self._endpoints.token_url)
        try:
            answer = await self.post(url, form, deadline=deadline)
        except NoAnswerError as error:
            outcome = lost_answer(
                _no_answer(url, error),
                sent=error.sent,
                status=error.status,
                partial=error.partial,
            )
        else:
            now = self._clock.wall()
            outcome = classify(answer.status, answer.headers, answer.body, now)
        return presentable(outcome, self.secrets_in(form))

    def secrets_in(self, form: Mapping[str, str]) -> list[str]:
        """What a provider may echo of a request and nobody else may read."""
        return [form[key] for key in SECRET_FIELDS if key in form] + [self._secret]

    async def post(
        self, url: str, form: Mapping[str, str], *, deadline: float | None = None
    ) -> Answer:
        """As `request`, to another endpoint of the provider; NoAnswerError where none came."""
        headers, body = self._authenticated(url, urlencode(form))
        return await exchange(
            "POST",
            url,
            headers=headers,
            content=body.encode("ascii"),
            deadline=self._account.timeout if deadline is None else deadline,
            client_factory=self._client_factory,
        )

    @property
    def _secret(self) -> str:
        secret = self._account.client_secret
        return secret.reveal() if secret else ""

    def _authenticated(self, url: str, body: str) -> tuple[dict[str, str], str]:
        client_id, secret, method = self._account.client_id, self._secret, self._account.client_auth
        if method == "basic":
            # RFC 6749 §2.3.1: form-encoded before Basic joins them; Authlib only joins.
            client_id, secret = quote_plus(client_id), quote_plus(secret)
        prepare: Any = ClientAuth(client_id, secret, AUTHLIB_METHODS[method]).prepare
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        _, headers, body = prepare("POST", url, headers, body)
        return headers, body


def _no_answer(url: str, error: NoAnswerError) -> str:
    return f"{urlsplit(url).netloc}: {error}"
