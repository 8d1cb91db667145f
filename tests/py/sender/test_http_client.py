from __future__ import annotations

from typing import Any

import anyio
import pytest
from sender_support import Provider, granted, response

from tokenrelay.sender import http_client

httpx = http_client.httpx


class SlowToClose(http_client.httpx.AsyncClient):
    """Has the answer, and then nothing else to do until the deadline."""

    async def __aexit__(self, *arguments: Any) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await super().__aexit__(*arguments)


def test_a_whole_answer_counts_though_its_connection_ends_after_the_deadline(
    provider: Provider,
) -> None:
    provider.script.append(response(200, granted(1)))

    async def post() -> http_client.Answer:
        return await http_client.exchange(
            "POST",
            provider.token_url,
            headers={},
            content=b"refresh_token=refresh-0",
            deadline=0.5,
            client_factory=lambda: SlowToClose(trust_env=False),
        )

    answer = anyio.run(post)
    assert answer.status == 200
    assert b"refresh-1" in (answer.body or b"")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (httpx.ConnectError("[Errno -2] Name or service not known"), "Name or service not known"),
        (httpx.ReadError(""), "ReadError"),
    ],
)
def test_why_none_came_is_told_in_words(error: httpx.HTTPError, told: str) -> None:
    def refuse(_request: httpx.Request) -> httpx.Response:
        raise error

    async def post() -> http_client.Answer:
        return await http_client.exchange(
            "POST",
            "https://localhost/token",
            headers={},
            content=b"",
            deadline=5,
            client_factory=lambda: httpx.AsyncClient(transport=httpx.MockTransport(refuse)),
        )

    with pytest.raises(http_client.NoAnswerError) as found:
        anyio.run(post)
    assert str(found.value) == told
