"""Gunicorn's settings for preloaded.py: one receiver a process."""

from __future__ import annotations

from typing import Any

bind = "127.0.0.1:0"
preload_app = True
workers = 4


def post_fork(_server: Any, _worker: Any) -> None:
    import preloaded

    preloaded.receiver.start()
