"""The whole path: a real provider, a sender process, receiver processes, an API that checks."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest

from support.programs import RECEIVE, TOKENRELAY, Start, wait_for_tokens
from tokenrelay import TokenReceiver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.host import Host
    from support.provider import Provider, StartProvider

FAR_FUTURE = 4102444800
JSON_FRAME = json.dumps(
    {"access_token": "a", "refresh_token": "r", "expires_at": FAR_FUTURE}
).encode()


def spend(provider: Provider, refresh_token: str) -> int:
    """Refresh at the provider as a client of its own; return the status."""
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    credentials = b64encode(f"{provider.client_id}:{provider.client_secret}".encode()).decode()
    request = urllib.request.Request(
        provider.token_url,
        data=urllib.parse.urlencode(form).encode(),
        headers={"Authorization": f"Basic {credentials}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_the_provider_flags_a_refresh_token_that_is_used_twice(
    oauth_toolkit: StartProvider,
) -> None:
    """What the other tests find unflagged is flagged where it happens."""
    provider = oauth_toolkit()
    assert spend(provider, provider.refresh_token) == 200
    assert not provider.report()["reuse_flagged"]
    assert spend(provider, provider.refresh_token) == 400
    assert provider.report()["reuse_flagged"]


def test_five_rotations_reach_two_receivers_and_the_api_accepts_every_token(
    host: Host, oauth_toolkit: StartProvider, start: Start, measured: Callable[[str], None]
) -> None:
    provider = oauth_toolkit(access_token_seconds=8)
    host.configure(provider, refresh_every="3s")
    host.import_login(provider)
    receivers = [start(*RECEIVE, "--resource", provider.resource_url) for _ in range(2)]
    for receiver in receivers:
        receiver.wait_for_event("ready")
    # The age of an imported token is unknown, so it would be refreshed, and by this provider
    # revoked, in the moment of its delivery.
    host.run("refresh", "main")
    sender = start(*TOKENRELAY, "run")
    received = [wait_for_tokens(receiver, 6) for receiver in receivers]
    assert sender.terminate() == 0

    report = provider.report()
    measured(f"{report['refreshes']} refreshes, {report['calls']} calls accepted")
    assert report["refreshes"] >= 5
    assert (report["refreshes_refused"], report["calls_refused"]) == (0, 0)
    assert not report["reuse_flagged"]
    for tokens in received:
        assert {token["status"] for token in tokens} == {200}
        assert len({token["fingerprint"] for token in tokens}) == len(tokens)
        serials = [token["serial"] for token in tokens]
        assert serials == sorted(set(serials))
        assert [token["generation"] for token in tokens] == list(range(1, len(tokens) + 1))
    stored = host.stored_token()
    secrets = [provider.client_secret, provider.access_token, provider.refresh_token]
    for secret in [*secrets, stored["access_token"], stored["refresh_token"]]:
        assert secret not in sender.output


def test_two_senders_on_one_token_file_refresh_once_a_generation(
    host: Host, oauth_toolkit: StartProvider, start: Start
) -> None:
    """Two senders that cannot see each other still never spend one refresh token twice."""
    provider = oauth_toolkit(access_token_seconds=6)
    host.configure(provider, refresh_every="1s")
    host.import_login(provider)
    environments = [host.environment_with(host.root / name) for name in ("run-a", "run-b")]
    receivers = [start(*RECEIVE, environment=environment) for environment in environments]
    for receiver in receivers:
        receiver.wait_for_event("ready")
    senders = [start(*TOKENRELAY, "run", environment=each) for each in environments]
    received = [wait_for_tokens(receiver, 6) for receiver in receivers]
    assert [sender.terminate() for sender in senders] == [0, 0]

    report = provider.report()
    assert not report["reuse_flagged"]
    assert report["refreshes_refused"] == 0
    # Every refresh token the provider ever made, less the one of the login, was asked for once.
    assert report["refreshes"] == report["refresh_tokens"] - 1
    serials = {token["serial"] for tokens in received for token in tokens}
    assert len(serials) <= report["refreshes"] + 1
    assert spend(provider, host.stored_token()["refresh_token"]) == 200


def test_a_receiver_that_starts_before_or_after_the_sender_has_the_same_token(
    host: Host, oauth_toolkit: StartProvider, start: Start
) -> None:
    provider = oauth_toolkit(access_token_seconds=600)
    host.configure(provider)
    host.import_login(provider)
    early = start(*RECEIVE)
    early.wait_for_event("ready")
    start(*TOKENRELAY, "run").wait_for_event("ready")
    first = wait_for_tokens(early, 1)[-1]
    late = start(*RECEIVE)
    second = wait_for_tokens(late, 1)[-1]
    assert first["fingerprint"] == second["fingerprint"]
    assert first["serial"] == second["serial"] == host.stored_token()["serial"]


@pytest.fixture
def receiver(short_path: Path) -> Iterator[TokenReceiver]:
    with TokenReceiver(path=str(short_path / "token.sock")) as receiver:
        yield receiver


def answer_of(command: list[str], frame: bytes) -> dict[str, object]:
    """Run a program that sends the frame and ends by itself; return the receiver's answer."""
    done = subprocess.run(command, input=frame, capture_output=True, timeout=10, check=True)
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def sending_programs(path: str) -> dict[str, list[str]]:
    return {
        "nc": ["nc", "-U", path],
        "nc-half-close": ["nc", "-N", "-U", path],
        "socat": ["socat", "-", f"UNIX-CONNECT:{path}"],
    }


@pytest.mark.parametrize("program", ["nc", "nc-half-close", "socat"])
def test_a_bare_token_ends_the_sending_program(receiver: TokenReceiver, program: str) -> None:
    """`echo "test_token_abc123" | nc -U PATH` is answered and returns to the shell."""
    command = sending_programs(receiver.path)[program]
    assert answer_of(command, b"test_token_abc123\n") == {"ok": True, "generation": 1}
    assert receiver.wait(timeout=5).access_token == "test_token_abc123"


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b""], ids=["newline", "crlf", "none"])
@pytest.mark.parametrize("program", ["nc-half-close", "socat"])
def test_a_json_frame_is_answered_after_the_half_close(
    receiver: TokenReceiver, program: str, ending: bytes
) -> None:
    command = sending_programs(receiver.path)[program]
    assert answer_of(command, JSON_FRAME + ending) == {"ok": True, "generation": 1}
    token = receiver.wait(timeout=5)
    assert (token.access_token, token.expires_at) == ("a", FAR_FUTURE)


@pytest.mark.parametrize("program", ["nc-half-close", "socat"])
@pytest.mark.parametrize(
    "frame", [JSON_FRAME + b"\n", b"test_token_abc123\n"], ids=["json", "bare"]
)
def test_a_frame_may_arrive_byte_by_byte(
    receiver: TokenReceiver, start: Start, program: str, frame: bytes
) -> None:
    sender = start(*sending_programs(receiver.path)[program])
    for byte in frame.decode() + "\n":
        sender.write(byte)
    sender.close_input()
    answer = sender.wait_for(lambda line: "ok" in line.fields)
    assert answer.fields == {"ok": True, "generation": 1}
    assert sender.wait() == 0
