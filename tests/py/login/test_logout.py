from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from login_support import configure
from sender_support import CLOSE, Provider, response

from support.programs import TOKENRELAY

if TYPE_CHECKING:
    from support.command import Run
    from support.host import Host
    from support.programs import Start

LOGIN = {
    "access_token": "the-access-token",
    "refresh_token": "the-refresh-token",
    "expires_at": 4102444800,
}


@pytest.fixture
def revocable(provider: Provider, host: Host, run: Run) -> Host:
    """A host with a login that its provider can revoke."""
    configure(host, provider, revoke_url=f"{provider.origin}/revoke")
    run("import", "-", stdin=json.dumps(LOGIN))
    return host


def test_logout_revokes_and_removes_the_refresh_token(
    revocable: Host, provider: Provider, run: Run
) -> None:
    provider.script.append(response(200, b""))
    done = run("logout")
    assert "the provider revoked the login" in done.stdout
    assert "tokenrelay login main" in done.stderr
    assert provider.paths == ["/revoke"]
    assert provider.forms == [{"token": "the-refresh-token", "token_type_hint": "refresh_token"}]
    assert provider.headers[0]["Authorization"].startswith("Basic ")
    left = revocable.token_file().read_text()
    assert "the-refresh-token" not in left
    assert json.loads(left)["access_token"] == "the-access-token"
    for file in revocable.state.iterdir():
        assert b"the-refresh-token" not in file.read_bytes()


def test_logout_again_does_nothing(revocable: Host, provider: Provider, run: Run) -> None:
    provider.script.append(response(200, b""))
    run("logout")
    before = revocable.token_file().read_bytes()
    assert "nothing to do" in run("logout").stdout
    assert revocable.token_file().read_bytes() == before
    assert len(provider.forms) == 1


@pytest.mark.parametrize(
    "answer",
    [
        response(503, b"busy"),
        CLOSE,
        response(401, {"error": "invalid_client"}),
        response(400, {"error": "no such token: the-refresh-token"}),
        response(302, b"", "Location: /"),
    ],
)
def test_what_the_provider_did_not_revoke_stays(
    revocable: Host, provider: Provider, run: Run, answer: bytes
) -> None:
    provider.script.append(answer)
    before = revocable.token_file().read_bytes()
    failed = run("logout", succeed=False)
    assert failed.returncode == 1
    assert "tokenrelay logout main --local" in failed.stderr
    assert "the-refresh-token" not in failed.stderr
    assert revocable.token_file().read_bytes() == before


def test_logout_may_be_local(revocable: Host, provider: Provider, run: Run) -> None:
    done = run("logout", "--local")
    assert "was not asked" in done.stderr
    assert "refresh_token" not in revocable.stored_token()
    assert provider.forms == []


def test_a_provider_that_cannot_revoke_is_told_so(
    revocable: Host, provider: Provider, run: Run
) -> None:
    provider.script.append(response(400, {"error": "unsupported_token_type"}))
    assert "offers no revocation" in run("logout").stderr
    assert "refresh_token" not in revocable.stored_token()


def test_without_a_revocation_endpoint_it_is_removed_here(
    revocable: Host, provider: Provider, run: Run
) -> None:
    configure(revocable, provider)
    done = run("logout")
    assert "offers no revocation" in done.stderr
    assert provider.forms == []
    assert "refresh_token" not in revocable.stored_token()


def test_without_a_login_there_is_nothing_to_do(provider: Provider, host: Host, run: Run) -> None:
    configure(host, provider)
    assert "nothing to do" in run("logout").stdout


def test_a_running_sender_asks_for_a_login_instead_of_refreshing(
    revocable: Host, provider: Provider, run: Run, start: Start
) -> None:
    sender = start(*TOKENRELAY, "run")
    sender.wait_for_event("ready")
    provider.script.append(response(200, b""))
    run("logout")
    refused = run("refresh", succeed=False)
    assert refused.returncode == 4
    assert "tokenrelay login main" in refused.stderr
    assert len(provider.forms) == 1
