"""The end of a login: revoked at the provider (RFC 7009), forgotten here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio

from tokenrelay.sender.errors import SenderError
from tokenrelay.sender.http_client import NoAnswerError
from tokenrelay.sender.oauth_response import parse_object, presentable_text

if TYPE_CHECKING:
    from tokenrelay.sender.config import Account
    from tokenrelay.sender.oauth import TokenEndpoint
    from tokenrelay.sender.tokens import TokenSet
    from tokenrelay.sender.vault import Vault


@dataclass(frozen=True, slots=True)
class LoggedOut:
    """What was done. ``token`` is what is left: None where there was no login at all."""

    token: TokenSet | None
    revoked: bool
    removed: bool


async def log_out(
    account: Account, endpoint: TokenEndpoint, vault: Vault, *, revoke: bool = True
) -> LoggedOut:
    """Revokes and removes the refresh token under the token file's lock, so that no refresh can
    bring another one in between. SenderError: not revoked, and nothing removed."""
    with vault.transaction() as transaction:
        current = transaction.current
        if current is None or current.refresh_token is None:
            return LoggedOut(current, revoked=False, removed=False)
        transaction.prepare()
        with anyio.CancelScope(shield=True):
            revoked = revoke and await _revoke(account, endpoint, current.refresh_token)
            left = current.replace(refresh_token=None)
            transaction.commit(left)
    return LoggedOut(left, revoked=revoked, removed=True)


async def _revoke(account: Account, endpoint: TokenEndpoint, refresh_token: str) -> bool:
    """False where the provider offers no revocation."""
    form = {"token": refresh_token, "token_type_hint": "refresh_token"}
    secrets = endpoint.secrets_in(form)
    if failure := await endpoint.locate("revoke_url"):
        raise _not_revoked(account, failure.detail, secrets)
    url = endpoint.endpoints.revoke_url
    if url is None:
        return False
    try:
        answer = await endpoint.post(url, form)
    except NoAnswerError as error:
        raise _not_revoked(account, str(error), secrets) from None
    if answer.status == 200:
        return True
    told = (parse_object(answer.body) or {}).get("error")
    if told == "unsupported_token_type":  # RFC 7009 §2.2.1: it revokes no refresh tokens
        return False
    cause = f"answer {answer.status}" + (f": {told}" if told else "")
    raise _not_revoked(account, cause, secrets)


def _not_revoked(account: Account, cause: str, secrets: list[str]) -> SenderError:
    name, cause = account.name, presentable_text(cause, secrets)
    return SenderError(
        f"{name}: the provider did not revoke the login ({cause}), so it "
        f"was left as it is. Try again, or forget it here only: tokenrelay logout {name} --local"
    )
