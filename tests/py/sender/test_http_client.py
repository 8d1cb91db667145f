from __future__ import annotations

from typing import Any

import anyio
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
