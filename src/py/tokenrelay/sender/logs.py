"""Logs: structlog on standard error, as text or as JSON lines, or in systemd's journal. Secrets are
kept out by what is logged; a processor that removes registered secrets is the second line of
defence."""

from __future__ import annotations

import logging
import os
import sys
from collections import Counter, defaultdict, deque
from typing import TYPE_CHECKING, Any, TextIO, cast

import structlog

from tokenrelay.sender import journald
from tokenrelay.sender.log_stream import LossyStream

if TYPE_CHECKING:
    from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

REDACTED = "[redacted]"
SHORTEST_SECRET = 6  # shorter ones would eat ordinary words
KEPT_SECRETS = 8  # of one owner: four pairs of tokens
TALKATIVE = ("httpcore", "httpcore2", "httpx", "httpx2", "authlib")


class Redactor:
    """Replaces registered secrets in all that is logged; remembers each owner's last 8.

    What a text costs depends on its length, not on the number of secrets.
    """

    def __init__(self) -> None:
        self._kept: dict[str, deque[str]] = defaultdict(deque)
        self._uses: dict[int, Counter[str]] = defaultdict(Counter)  # by length

    def register(self, secret: str | None, *, owner: str) -> None:
        """``secret`` never appears in the log from now on, until ``owner`` has 8 newer ones."""
        kept = self._kept[owner]
        if not secret or len(secret) < SHORTEST_SECRET or secret in kept:
            return
        kept.append(secret)
        self._uses[len(secret)][secret] += 1
        if len(kept) > KEPT_SECRETS:
            self._forget(kept.popleft())

    def _forget(self, secret: str) -> None:
        uses = self._uses[len(secret)]
        uses[secret] -= 1
        if not uses[secret]:
            del uses[secret]

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
        for secret in sorted(self._found_in(text), key=len, reverse=True):
            text = text.replace(secret, REDACTED)
        return text

    def _found_in(self, text: str) -> set[str]:
        return {
            piece
            for length, secrets in self._uses.items()
            for start in range(len(text) - length + 1)
            if (piece := text[start : start + length]) in secrets
        }


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
    lines = structlog.PrintLogger(cast("TextIO", LossyStream(stream)))
    logger = journald.JournalLogger(lines.msg) if journal else lines
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
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    return [structlog.dev.ConsoleRenderer(colors=stream.isatty() and not plain)]
