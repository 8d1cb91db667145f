"""`httpx` with a receiver's tokens: ``httpx.Client(auth=TokenAuth(receiver))``."""

from __future__ import annotations

from typing import ClassVar

import httpx

from ._httpx_auth import BearerFlow


class TokenAuth(BearerFlow, httpx.Auth):
    __doc__ = BearerFlow.__doc__

    body_in_memory: ClassVar[type] = httpx.ByteStream
