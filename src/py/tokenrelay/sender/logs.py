"""Logs: structlog on standard error, as text or as JSON lines, or in systemd's journal. Secrets are
kept out by what is logged; a processor that removes registered secrets is the second line of
defence."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

import structlog

from tokenrelay.sender import journald

if TYPE_CHECKING:
    from collections.abc import Iterable

    from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

REDACTED = "[redacted]"
SHORTEST_SECRET = 6  # shorter ones would eat ordinary words
KEPT_SECRETS = 64
TALKATIVE = ("httpcore", "httpcore2", "httpx", "httpx2", "authlib")


class Redactor:
    """Replaces registered secrets in all that is logged; remembers the last 64."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: dict[str, None] = {}
        for secret in secrets:
            self.register(secret)

    def register(self, secret: str | None) -> None:
        """``secret`` never appears in the log from now on."""
        if secret and len(secret) >= SHORTEST_SECRET:
            self._secrets.pop(secret, None)
            self._secrets[secret] = None
            while len(self._secrets) > KEPT_SECRETS:
                del self._secrets[next(iter(self._secrets))]

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return {key: self._clean(value) for key, value in event.items()}

    def _clean(self, value: Any) -> Any:
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, dict):
            return {key: self._clean(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._clean(item) for item in value]
        text = str(value)
        for secret in self._secrets:
            text = text.replace(secret, REDACTED)
        return text


redactor: Redactor = Redactor()


def configure_logs(
    *, log_format: str = "text", level: str = "info", stream: TextIO | None = None
) -> None:
    """Sets structlog up for the process: ``text`` or ``json``, to standard error; entries with
    fields instead where that is systemd's journal."""
    stream = stream or sys.stderr
    threshold = logging.getLevelNamesMapping()[level.upper()]
    journal = journald.is_journal(stream, os.environ)
    rendering = [journald.render] if journal else _rendering(log_format, stream)
    logger = journald.JournalLogger(stream) if journal else structlog.PrintLogger(stream)
    structlog.configure(
        processors=[*_common(), redactor, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=lambda *_: logger,
        cache_logger_on_first_use=False,
    )
    # Their debug lines show headers and bodies.
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)


def get_log(**context: Any) -> FilteringBoundLogger:
    """A logger with ``context`` on each line."""
    log: FilteringBoundLogger = structlog.get_logger(**context)
    return log


def _common() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        # Before the redactor: a traceback is text too.
        structlog.processors.format_exc_info,
    ]


def _rendering(log_format: str, stream: TextIO) -> list[Processor]:
    if log_format == "json":
        return [structlog.processors.JSONRenderer()]
    return [structlog.dev.ConsoleRenderer(colors=stream.isatty())]
