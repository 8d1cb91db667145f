"""The authorization request and the callback that answers it: RFC 6749 §4.1, RFC 7636. Pure."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, parse_qsl, urlsplit

from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from tokenrelay.sender.errors import ConfigurationError, SenderError
from tokenrelay.sender.oauth_response import LONGEST_DETAIL, clean

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenrelay.sender.config import Account

S256: Callable[[str], str] = create_s256_code_challenge
RANDOM_BYTES = 48  # 64 characters: a verifier has 43 to 128, RFC 7636 §4.1
MAXIMUM_FIELDS = 32
SINGLE_FIELDS = ("code", "state", "error", "error_description", "iss")


class LoginRefused(SenderError):
    """The provider ended the login, or the user did there."""


class NotOurCallback(Exception):
    """A callback that belongs to no login of ours, or to none that we can trust; nothing was
    spent, and the right one may still come."""


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """One login as the provider is asked for it. ``url`` is for the user's browser."""

    url: str = field(repr=False)  # the state is in it
    redirect_uri: str
    state: str = field(repr=False)
    verifier: str | None = field(repr=False)
    issuer: str | None

    def token_form(self, code: str) -> dict[str, str]:
        """What the token endpoint is sent for ``code``, RFC 6749 §4.1.3 and RFC 7636 §4.5."""
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": self.redirect_uri}
        return form if self.verifier is None else {**form, "code_verifier": self.verifier}


def authorization_request(
    account: Account,
    authorize_url: str,
    redirect_uri: str,
    *,
    random_text: Callable[[int], str] = secrets.token_urlsafe,
) -> AuthorizationRequest:
    """A new request; each has its own state and verifier."""
    state, verifier = random_text(RANDOM_BYTES), None
    fields: dict[str, str] = {}
    if account.pkce:
        verifier = random_text(RANDOM_BYTES)
        fields["code_challenge"] = S256(verifier)
        fields["code_challenge_method"] = "S256"
    # OpenID Connect Core §11: without it, offline_access brings no refresh token.
    if "offline_access" in account.scopes and "prompt" not in parse_qs(urlsplit(authorize_url)[3]):
        fields["prompt"] = "consent"
    try:
        url = prepare_grant_uri(
            authorize_url,
            account.client_id,
            "code",
            redirect_uri=redirect_uri,
            scope=" ".join(account.scopes) or None,
            state=state,
            **fields,
        )
    except ValueError as error:
        raise ConfigurationError(f"{account.name}: authorize_url: {error}") from None
    return AuthorizationRequest(url, redirect_uri, state, verifier, account.issuer)


def read_callback(query: str, request: AuthorizationRequest) -> str:
    """The authorization code in the callback's query, RFC 6749 §4.1.2.

    LoginRefused: the provider says no. NotOurCallback: it proves nothing, whoever sent it.
    """
    fields = _single_fields(query)
    told = _told(fields)
    if "state" not in fields:
        raise NotOurCallback(f"it has no state{told}")
    if not hmac.compare_digest(fields["state"].encode(), request.state.encode()):
        raise NotOurCallback(f"its state is not of this login; from an older page?{told}")
    # RFC 9207 §2.4: a provider that names itself must be the one that was asked.
    if "iss" in fields and request.issuer not in (None, fields["iss"]):
        raise NotOurCallback("it comes from another issuer than the configured one")
    if "error" in fields:
        raise LoginRefused(f"the provider ended the login{told}")
    if not fields.get("code"):
        raise NotOurCallback("it has no code")
    return fields["code"]


def _single_fields(query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=MAXIMUM_FIELDS)
    except ValueError:
        raise NotOurCallback(f"it has more than {MAXIMUM_FIELDS} fields") from None
    fields: dict[str, str] = {}
    for name, value in pairs:
        if name in fields and name in SINGLE_FIELDS:
            raise NotOurCallback(f"it has {name} twice")
        fields[name] = value
    return fields


def _told(fields: dict[str, str]) -> str:
    """The provider's own words, of which any page could be the author: short and printable."""
    parts = [fields[name] for name in ("error", "error_description") if fields.get(name)]
    text = clean(": ".join(parts))[:LONGEST_DETAIL]
    return f" ({text})" if text else ""
