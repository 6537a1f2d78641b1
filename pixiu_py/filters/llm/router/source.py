"""Figures that are fetched, and fetched again. What was fetched last stays until something better has been fetched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import structlog

from pixiu_py.errors import StartError
from pixiu_py.tasks import Tasks
from pixiu_py.upstream.client import CallFailed, Client, base_at, service_at

if TYPE_CHECKING:
    from pixiu_py.filters.base import Context
    from pixiu_py.filters.llm.router.model import MetricsSource

log = structlog.get_logger("pixiu_py.filters.router")


class Source:
    """One document, and who takes it. ``take`` raises ``ValueError`` for one that it cannot read."""

    def __init__(self, config: MetricsSource, context: Context, take: Callable[[bytes], None]) -> None:
        self._config = config
        self._take = take
        self._tasks = Tasks(f"router {config.provider}")
        self._client = Client(total=1)
        at = base_at if config.query else service_at
        #: None: a file is read.
        self._service = None if config.file else at(config.url, config.api_key)
        self._path = f"/api/v1/query?query={quote(config.query, safe='')}" if config.query else ""
        self._clock = context.clock
        #: When the figures were fetched; 0: never.
        self._fetched = 0.0
        self._fetches = context.metrics.counter(
            "pixiu_router_fetches_total", "Attempts to get prices or latencies.", ("provider", "outcome")
        )
        self._ages = context.metrics.reading(
            "pixiu_router_figures_age_seconds", "Time since prices or latencies were fetched.", ("provider",)
        )

    async def start(self) -> None:
        """Get the figures and keep them fresh. A URL may be out of reach meanwhile; a file may not: ``StartError``."""
        good = await self.fetch()
        if not good and self._config.file:
            raise StartError(f"the price catalogue {self._config.file} cannot be used")
        self._ages.add(self._age)
        if self._config.refresh_interval:
            _ = self._tasks.spawn(self._refresh(), "refresh")

    async def close(self) -> None:
        """Fetch no more."""
        self._ages.drop(self._age)
        await self._tasks.close()
        await self._client.close()

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(self._config.refresh_interval)
            await self.fetch()

    async def fetch(self) -> bool:
        """Fetch once; True when there are new figures."""
        provider = self._config.provider
        try:
            self._take(await self._read())
        except (CallFailed, OSError, ValueError) as error:
            self._fetches.inc((provider, "failure"))
            log.warning("figures cannot be fetched", provider=provider, why=str(error), have_older=self._fetched > 0)
            return False
        self._fetches.inc((provider, "success"))
        self._fetched = self._clock()
        return True

    async def _read(self) -> bytes:
        config = self._config
        if self._service is None:
            return await asyncio.to_thread(_read_file, config.file, config.max_bytes)
        return await self._client.get(self._service, self._path, config.timeout, config.max_bytes)

    def _age(self) -> list[tuple[tuple[str, ...], float]]:
        return [((self._config.provider,), self._clock() - self._fetched)] if self._fetched else []


def _read_file(name: str, limit: int) -> bytes:
    """The content of a file. Raises ``OSError`` or ``ValueError``."""
    with Path(name).open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"{name} is larger than {limit} bytes")
    return content
