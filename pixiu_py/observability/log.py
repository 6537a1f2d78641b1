"""The gateway's own log: structlog, as JSON for machines or as coloured lines for people, on standard error."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import Any, TextIO

import structlog

_LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}


class _Lossy:
    """A stream for lines: where one cannot be written (a full disk, a reader that is gone) it is lost, and nothing else is."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Write it, if that can be done."""
        with suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self) -> None:
        """The same."""
        with suppress(OSError, ValueError):
            self._stream.flush()


def configure(level: str, format_: str) -> None:
    """Set up logging for this process. ``format_`` is ``json`` or ``console``; empty: console on a terminal, else json."""
    threshold = _LEVELS.get(level, logging.INFO)
    console = format_ == "console" or (not format_ and sys.stderr.isatty())
    renderer: Any = structlog.processors.JSONRenderer()
    if console:  # where rich is installed, tracebacks would show local variables, and so credentials
        renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if not console:
        processors.append(structlog.processors.format_exc_info)
    structlog.configure(
        processors=[*processors, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.PrintLoggerFactory(_Lossy(sys.stderr)),  # type: ignore[arg-type] # what it needs of one
        cache_logger_on_first_use=False,
    )
    # Libraries (aiohttp, asyncio) log through the standard module; their warnings belong in the same stream.
    logging.basicConfig(stream=sys.stderr, level=max(threshold, logging.WARNING), force=True)
