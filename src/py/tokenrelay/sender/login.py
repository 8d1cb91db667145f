"""One login of one account: what every way to it shares, up to the token file."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import anyio
from anyio.to_thread import run_sync

from tokenrelay.sender.attempt import login_end
from tokenrelay.sender.errors import ConfigurationError, SenderError, VaultError
from tokenrelay.sender.logs import redactor
from tokenrelay.sender.oauth_response import Kind, Outcome, TokenResponse
from tokenrelay.sender.tokens import TokenSet, fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tokenrelay.sender.clock import Clock, Sleep
    from tokenrelay.sender.config import Account
    from tokenrelay.sender.oauth import TokenEndpoint
    from tokenrelay.sender.vault import Vault

# A code lives about 30 s (Schwab); asked again only where the provider did nothing.
CODE_PAUSES = (1.0, 3.0, 6.0)
# A sender holds the lock while it waits for its provider.
LOCK_PATIENCE, SAVE_AGAIN = 5.0, 1.0


class Login:
    """Asks, redeems and keeps. For the event loop's thread; `prepare` and `working` block."""

    def __init__(
        self,
        account: Account,
        endpoint: TokenEndpoint,
        vault: Vault,
        *,
        clock: Clock,
        note: Callable[[str], None],
        sleep: Sleep = anyio.sleep,
    ) -> None:
        self.account: Account = account
        self.endpoint: TokenEndpoint = endpoint
        self._note = note
        self._vault, self._clock, self._sleep = vault, clock, sleep

    def working(self) -> TokenSet | None:
        """The stored login, as far as anybody here knows it to work."""
        try:
            stored = self._vault.load()
        except VaultError:
            return None
        if stored is None or stored.refresh_token is None:
            return None
        refusal = self._vault.load_journal().refusal
        if refusal and refusal.fingerprint == fingerprint(stored.refresh_token):
            return None
        end = login_end(stored, self.account)
        return None if end is not None and end <= self._clock.wall() else stored

    def prepare(self) -> None:
        """VaultError now, rather than with a login in hand that cannot be saved."""
        try:
            self._vault.load()
        except VaultError:
            return  # damaged, or of another provider: it will be set aside
        with self._vault.transaction() as transaction:
            transaction.prepare()

    async def locate(self, key: str) -> str:
        """The endpoint ``key``, from the configuration or the issuer."""
        name = self.account.name
        if failure := await self.endpoint.locate(key):
            if failure.kind is Kind.MISCONFIGURED:
                raise ConfigurationError(f"{name}: {failure.detail}")
            raise SenderError(f"{name}: {failure.detail}; try again")
        url: str | None = getattr(self.endpoint.endpoints, key)
        if url is None:
            raise ConfigurationError(
                f"accounts.{name}.{key}: missing, and "
                + ("the issuer names none" if self.account.issuer else "there is no issuer to ask")
            )
        return url

    async def redeem(self, form: Mapping[str, str]) -> TokenSet:
        """Spends an authorization code and keeps what it brings, whoever stops waiting for it."""
        with anyio.CancelScope(shield=True):
            began = self._clock.wall()
            outcome = await self.endpoint.request(form)
            for pause in CODE_PAUSES:
                if outcome.kind is not Kind.UNDONE or (outcome.retry_after or 0) > pause:
                    break
                await self._sleep(pause)
                began = self._clock.wall()
                outcome = await self.endpoint.request(form)
            return await self.keep(outcome, began)
        raise RuntimeError("unreachable: a shield swallows nothing")

    async def keep(self, outcome: Outcome, began: float) -> TokenSet:
        """Saves what was granted on a request that ``began`` then; SenderError says why not."""
        if outcome.token is None:
            raise failure(self.account, outcome)
        token = self._token_set(outcome.token, began)
        for secret in (token.access_token, token.refresh_token):
            redactor.register(secret, owner=self.account.name)
        if token.refresh_token is None and self.working() is not None:
            raise SenderError(
                f"{self.account.name}: the provider granted no refresh token, so the login that is "
                "stored was kept. Ask for one: add the scope offline_access, or what this provider "
                "wants instead, to authorize_url (as ?access_type=offline&prompt=consent)"
            )
        return await self._store(token)

    async def _store(self, token: TokenSet) -> TokenSet:
        """Saves a login that cannot be had again, until it is saved or the user gives it up."""
        told = None
        while True:
            try:
                return await run_sync(partial(self._vault.store, token, timeout=LOCK_PATIENCE))
            except VaultError as error:
                if str(error) != told:
                    told = str(error)
                    self._note(
                        f"{self.account.name}: logged in, but not saved yet: {told}. "
                        "Trying again until it is saved; Ctrl-C twice gives this login up"
                    )
            await self._sleep(SAVE_AGAIN)

    def _token_set(self, response: TokenResponse, began: float) -> TokenSet:
        granted, span = int(began), self.account.login_lifetime
        return TokenSet(
            access_token=response.access_token,
            expires_at=granted + (response.expires_in or int(self.account.token_lifetime)),
            refresh_token=response.refresh_token,
            issued_at=granted,
            granted_at=granted,
            grant_expires_at=granted + int(span) if span else None,
            scope=response.scope or " ".join(self.account.scopes) or None,
            token_url=self.endpoint.endpoints.token_url,
            client_id=self.account.client_id,
        )


def failure(account: Account, outcome: Outcome) -> SenderError:
    """What a login means that brought no token."""
    name, detail = account.name, outcome.detail
    again = f"Log in again: tokenrelay login {name}"
    match outcome.kind:
        case Kind.MISCONFIGURED:
            return ConfigurationError(
                f"{name}: {detail}. Check client_id, client_secret, client_auth, redirect_uri and "
                f"pkce of this account, then: tokenrelay login {name}"
            )
        case Kind.REFUSED:
            return SenderError(
                f"{name}: the provider refused the login's code ({detail}). A code works once and "
                "for some 30 s, and redirect_uri must be the registered one to the letter. " + again
            )
    return SenderError(f"{name}: the provider gave no token ({detail}). {again}")
