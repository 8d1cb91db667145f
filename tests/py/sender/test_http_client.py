from __future__ import annotations

import socket
from typing import Any

import anyio
import pytest
from sender_support import Provider, granted, response

from tokenrelay.sender import http_client


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


def test_why_none_came_is_told_in_words() -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))

        async def post() -> http_client.Answer:
            url = f"http://127.0.0.1:{unheard.getsockname()[1]}/token"
            return await http_client.exchange("POST", url, headers={}, content=b"", deadline=5)

        with pytest.raises(http_client.NoAnswerError) as told:
            anyio.run(post)
    assert "Errno" not in str(told.value)
    assert "onnect" in str(told.value)
