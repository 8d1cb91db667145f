from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest
from sender_support import CLOSE, FakeClock, Provider, account, granted, response

from tokenrelay.sender.authorization import LoginRefused
from tokenrelay.sender.device import DeviceGrant, device_login
from tokenrelay.sender.errors import ConfigurationError, SenderError
from tokenrelay.sender.login import Login
from tokenrelay.sender.oauth import TokenEndpoint
from tokenrelay.sender.vault import Vault

if TYPE_CHECKING:
    from pathlib import Path

    from tokenrelay.sender.tokens import TokenSet

CODES = {
    "device_code": "the-device-code",
    "user_code": "WDJB-MJHT",
    "verification_uri": "https://provider.example/device",
    "expires_in": 600,
    "interval": 7,
}


def refusal(error: str, status: int = 400) -> bytes:
    return response(status, {"error": error})


class Device:
    """A device login whose pauses only move the clock."""

    def __init__(self, folder: Path, provider: Provider, **changes: Any) -> None:
        self.clock = FakeClock()
        self.shown: list[DeviceGrant] = []
        settings = {"device_url": f"{provider.origin}/device", **changes}
        one = account(folder / "t.json", provider.token_url, **settings)
        endpoint, vault = TokenEndpoint(one, clock=self.clock), Vault(one.token_file)
        self.login = Login(one, endpoint, vault, clock=self.clock, note=print)

    async def nap(self, seconds: float) -> None:
        self.clock.naps.append(seconds)
        self.clock.advance(seconds)

    def run(self, patience: float = 3600) -> TokenSet:
        async def log_in() -> TokenSet:
            return await device_login(
                self.login,
                show=self.shown.append,
                patience=patience,
                clock=self.clock,
                sleep=self.nap,
            )

        return anyio.run(log_in)


def test_the_code_is_shown_and_polled_for_until_it_is_entered(
    tmp_path: Path, provider: Provider
) -> None:
    provider.script.extend(
        [response(200, CODES), refusal("authorization_pending"), response(200, granted(1))]
    )
    device = Device(tmp_path, provider, scopes=("read", "trade"))
    token = device.run()
    assert device.shown[0].user_code == "WDJB-MJHT"
    assert provider.paths == ["/device", "/token", "/token"]
    assert provider.forms[0] == {"scope": "read trade"}
    assert provider.forms[1] == {
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
        "device_code": "the-device-code",
    }
    assert device.clock.naps == [7, 7]
    assert token.granted_at == device.clock.wall()
    assert Vault(tmp_path / "t.json").load() == token


def test_a_public_client_names_itself(tmp_path: Path, provider: Provider) -> None:
    provider.script.extend([response(200, CODES), response(200, granted(1))])
    Device(tmp_path, provider, client_auth="none", client_secret=None).run()
    assert [form["client_id"] for form in provider.forms] == ["the-client", "the-client"]


def test_slow_down_adds_five_seconds_for_good(tmp_path: Path, provider: Provider) -> None:
    """Also where it comes with 429, or with 200 as some do."""
    provider.script.extend(
        [
            response(200, CODES),
            refusal("slow_down"),
            refusal("authorization_pending"),
            refusal("slow_down", 429),
            refusal("authorization_pending", 200),
            response(200, granted(1)),
        ]
    )
    device = Device(tmp_path, provider)
    device.run()
    assert device.clock.naps == [7, 12, 12, 17, 17]


def test_without_an_interval_it_is_five_seconds(tmp_path: Path, provider: Provider) -> None:
    codes = {key: value for key, value in CODES.items() if key != "interval"}
    provider.script.extend([response(200, codes), response(200, granted(1))])
    device = Device(tmp_path, provider)
    device.run()
    assert device.clock.naps == [5]


def test_a_lost_answer_is_asked_for_again_less_often(tmp_path: Path, provider: Provider) -> None:
    provider.script.extend(
        [response(200, CODES), CLOSE, response(503, b"busy"), response(200, granted(1))]
    )
    device = Device(tmp_path, provider)
    device.run()
    assert device.clock.naps == [7, 14, 28]


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (refusal("access_denied"), LoginRefused, "refused"),
        (refusal("expired_token"), SenderError, "tokenrelay login main --device"),
        (refusal("invalid_client", 401), ConfigurationError, "client_secret"),
        (refusal("invalid_grant"), SenderError, "refused"),
    ],
)
def test_the_end_of_a_device_login_is_told(
    tmp_path: Path, provider: Provider, answer: bytes, kind: type[SenderError], says: str
) -> None:
    provider.script.extend([response(200, CODES), answer])
    with pytest.raises(kind, match=says) as raised:
        Device(tmp_path, provider).run()
    assert type(raised.value) is kind
    assert len(provider.forms) == 2


@pytest.mark.parametrize("patience", [20, 3600])
def test_polling_ends_with_the_code_or_with_the_users_patience(
    tmp_path: Path, provider: Provider, patience: float
) -> None:
    provider.script.append(response(200, {**CODES, "expires_in": 60}))
    provider.script.extend([refusal("authorization_pending")] * 20)
    device = Device(tmp_path, provider)
    with pytest.raises(SenderError, match="not entered in time"):
        device.run(patience)
    assert sum(device.clock.naps) <= min(patience, 60)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (refusal("unauthorized_client"), "unauthorized_client"),
        (response(200, b"<html>"), "user_code"),
        (response(200, {**CODES, "user_code": "a\x1b[31mb"}), "user_code"),
        (response(200, {**CODES, "device_code": ""}), "device_code"),
        (CLOSE, "no device login"),
    ],
)
def test_a_provider_that_gives_no_codes(
    tmp_path: Path, provider: Provider, answer: bytes, says: str
) -> None:
    provider.script.append(answer)
    with pytest.raises(SenderError, match=says):
        Device(tmp_path, provider).run()


def test_a_provider_without_device_endpoint_is_a_matter_of_configuration(
    tmp_path: Path, provider: Provider
) -> None:
    with pytest.raises(ConfigurationError, match=r"accounts\.main\.device_url"):
        Device(tmp_path, provider, device_url=None).run()
