"""`httpx2` with a receiver's tokens: ``httpx2.Client(auth=TokenAuth(receiver))``."""

from __future__ import annotations

from typing import ClassVar

import httpx2

from ._httpx_auth import BearerFlow


class TokenAuth(BearerFlow, httpx2.Auth):
    __doc__ = BearerFlow.__doc__

    body_in_memory: ClassVar[type] = httpx2.ByteStream
