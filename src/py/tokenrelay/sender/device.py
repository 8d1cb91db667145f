"""A login on another device: the device authorization grant, RFC 8628."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tokenrelay.sender.authorization import LoginRefused
from tokenrelay.sender.errors import SenderError
from tokenrelay.sender.http_client import NoAnswerError
from tokenrelay.sender.oauth_response import Kind, Outcome, clean, parse_object, presentable

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenrelay.sender.clock import Clock, Sleep
    from tokenrelay.sender.http_client import Answer
    from tokenrelay.sender.login import Login
    from tokenrelay.sender.tokens import TokenSet

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:device_code"
DEFAULT_INTERVAL = 5.0  # RFC 8628 §3.2
SLOWER = 5.0  # RFC 8628 §3.5
LONGEST_INTERVAL, LONGEST_LIFE = 60.0, 3600.0
LONGEST_SHOWN = 500


@dataclass(frozen=True, slots=True)
class DeviceGrant:
    """What the provider wants done. Times are seconds."""

    user_code: str
    verification_uri: str
    complete_uri: str | None
    expires_in: float
    interval: float
    device_code: str = field(repr=False)


async def device_login(
    login: Login,
    *,
    show: Callable[[DeviceGrant], None],
    patience: float,
    clock: Clock,
    sleep: Sleep,
) -> TokenSet:
    """Shows what to do, polls until it is done, and keeps the login."""
    grant = await ask_for_codes(login)
    show(grant)
    outcome, began = await _poll(login, grant, patience=patience, clock=clock, sleep=sleep)
    return await login.keep(outcome, began)


async def ask_for_codes(login: Login) -> DeviceGrant:
    """RFC 8628 §3.1. SenderError where the provider gives none."""
    account = login.account
    url = await login.locate("device_url")
    scope = " ".join(account.scopes)
    try:
        return parse_codes(await login.endpoint.post(url, {"scope": scope} if scope else {}))
    except (NoAnswerError, ValueError) as error:
        outcome = presentable(Outcome(Kind.UNDONE, clean(str(error))), ())
        raise SenderError(f"{account.name}: no device login: {outcome.detail}") from None


def parse_codes(answer: Answer) -> DeviceGrant:
    """RFC 8628 §3.2. ValueError says what is wrong with the answer."""
    fields = parse_object(answer.body) or {}
    if answer.status != 200:
        error = fields.get("error")
        told = f": {error}: {fields.get('error_description', '')}" if error else ""
        raise ValueError(f"answer {answer.status}{told}")
    complete = fields.get("verification_uri_complete")
    return DeviceGrant(
        user_code=_text(fields, "user_code"),
        # Some providers kept the name of an early draft.
        verification_uri=_text(
            fields, "verification_uri" if "verification_uri" in fields else "verification_url"
        ),
        complete_uri=_text(fields, "verification_uri_complete") if complete else None,
        expires_in=min(_seconds(fields.get("expires_in"), LONGEST_LIFE), LONGEST_LIFE),
        interval=min(_seconds(fields.get("interval"), DEFAULT_INTERVAL), LONGEST_INTERVAL),
        device_code=_text(fields, "device_code", limit=16_384),
    )


async def _poll(
    login: Login, grant: DeviceGrant, *, patience: float, clock: Clock, sleep: Sleep
) -> tuple[Outcome, float]:
    form = {"grant_type": GRANT_TYPE, "device_code": grant.device_code}
    interval, began = grant.interval, clock.boot()
    over = began + min(grant.expires_in, patience)
    while clock.boot() + interval < over:
        await sleep(interval)
        asked = clock.wall()
        outcome = await login.endpoint.request(form)
        match outcome.error:
            case "authorization_pending":
                pass
            case "slow_down":
                interval += SLOWER
            case "access_denied":
                raise LoginRefused(f"{login.account.name}: the login was refused there")
            case "expired_token":
                break
            case _:
                if outcome.kind not in (Kind.UNDONE, Kind.AMBIGUOUS):
                    return outcome, asked
                # RFC 8628 §3.5: no answer, so ask less often.
                interval = min(interval * 2, LONGEST_INTERVAL)
    name = login.account.name
    raise SenderError(
        f"{name}: the code was not entered in time. Start again: tokenrelay login {name} --device"
    )


def _text(fields: dict[str, Any], name: str, *, limit: int = LONGEST_SHOWN) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value or len(value) > limit or not value.isprintable():
        raise ValueError(f"the answer has no usable {name}")
    return value


def _seconds(value: Any, default: float) -> float:
    usable = isinstance(value, int | float) and math.isfinite(value) and value > 0
    return float(value) if usable and not isinstance(value, bool) else default
