"""The gateway's own log: structlog, as JSON for machines or as coloured lines for people, on standard error."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

_LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}


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
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    # Libraries (aiohttp, asyncio) log through the standard module; their warnings belong in the same stream.
    logging.basicConfig(stream=sys.stderr, level=max(threshold, logging.WARNING), force=True)
