"""Finding a provider's endpoints through its issuer: RFC 8414, then OpenID Connect Discovery."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tokenrelay.sender.config_values import check_endpoint
from tokenrelay.sender.http_client import Answer, ClientFactory, NoAnswerError, exchange
from tokenrelay.sender.oauth_response import parse_object

if TYPE_CHECKING:
    from tokenrelay.sender.config import Account

METADATA_KEYS = {
    "token_url": "token_endpoint",
    "authorize_url": "authorization_endpoint",
    "device_url": "device_authorization_endpoint",
    "revoke_url": "revocation_endpoint",
}


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the provider answers what; None where it is not known, or not offered."""

    token_url: str | None
    authorize_url: str | None
    device_url: str | None
    revoke_url: str | None


def configured_endpoints(account: Account) -> Endpoints:
    """Those that the configuration gives."""
    return Endpoints(**{key: getattr(account, key) for key in METADATA_KEYS})


def metadata_urls(issuer: str) -> tuple[str, str]:
    """Where the metadata may be: RFC 8414 §3.1, OpenID Connect Discovery 1.0 §4."""
    parts = urlsplit(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    return (
        f"{origin}/.well-known/oauth-authorization-server{path}",
        f"{origin}{path}/.well-known/openid-configuration",
    )


async def discover(account: Account, client_factory: ClientFactory) -> Endpoints:
    """The issuer's endpoints, those of the configuration first.

    NoAnswerError: it may pass. ValueError: what the issuer says cannot be used.
    """
    issuer = account.issuer or ""
    statuses: list[int] = []
    unusable: list[ValueError] = []
    for url in metadata_urls(issuer):
        answer = await exchange(
            "GET", url, headers={}, content=None,
            deadline=account.timeout, client_factory=client_factory,
        )  # fmt: skip
        statuses.append(answer.status)
        if answer.status != 200:
            continue
        try:
            return _merge(account, _checked_metadata(issuer, url, answer))
        except ValueError as error:
            # Some answer every path alike; the metadata may be at the other one all the same.
            unusable.append(error)
    if any(status == 429 or status >= 500 for status in statuses):
        raise NoAnswerError(f"discovery at {issuer}: answers {statuses}", sent=False)
    if unusable:
        raise unusable[0]
    raise ValueError(
        f"discovery at {issuer}: no metadata there (answers {statuses}); set token_url instead"
    )


def _checked_metadata(issuer: str, url: str, answer: Answer) -> dict[str, Any]:
    metadata = parse_object(answer.body)
    if metadata is None:
        raise ValueError(f"discovery at {url}: the answer is no JSON object; set token_url")
    # RFC 8414 §3.3: else one issuer could speak for another.
    if str(metadata.get("issuer", "")).rstrip("/") != issuer.rstrip("/"):
        raise ValueError(
            f"discovery at {url}: it names another issuer; check the key issuer, or set token_url"
        )
    return metadata


def _merge(account: Account, metadata: dict[str, Any]) -> Endpoints:
    found: dict[str, str | None] = {}
    for key, name in METADATA_KEYS.items():
        own, offered = getattr(account, key), metadata.get(name)
        found[key] = own or (_endpoint(key, name, offered) if offered is not None else None)
    if found["token_url"] is None:
        raise ValueError(f"discovery at {account.issuer}: no token_endpoint; set token_url")
    return Endpoints(**found)


def _endpoint(key: str, name: str, value: Any) -> str:
    try:
        return check_endpoint(str(value))
    except ValueError as error:
        raise ValueError(f"discovery: {name} {error}; set {key}") from None
