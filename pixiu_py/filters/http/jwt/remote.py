"""Key sets that are fetched, and fetched again: at an interval, and when a token names a key that is not there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from pixiu_py.filters.http.jwt.keys import KeySet
from pixiu_py.tasks import Tasks
from pixiu_py.upstream.client import CallFailed, Client, service_at

if TYPE_CHECKING:
    from pixiu_py.filters.http.jwt.model import HttpUri

log = structlog.get_logger("pixiu_py.filters.jwt")


class RemoteKeys:
    """The keys at a URL. What was fetched last stays until something better has been fetched."""

    def __init__(self, provider: str, settings: HttpUri) -> None:
        self.keys: KeySet | None = None
        self._provider = provider
        self._settings = settings
        self._client = Client(total=1)
        self._service = service_at(settings.uri)
        self._tasks = Tasks(f"keys of {provider}")
        self._wanted = asyncio.Event()

    async def start(self) -> None:
        """Fetch the keys and keep them fresh. That they cannot be had now does not keep the gateway from starting."""
        fresh = await self._fetch()
        _ = self._tasks.spawn(self._refresh(fresh), "refresh")

    async def close(self) -> None:
        """Fetch no more."""
        await self._tasks.close()
        await self._client.close()

    def missed(self) -> None:
        """A token names a key that is not here: look for it soon."""
        self._wanted.set()

    async def _refresh(self, fresh: bool) -> None:
        while True:
            await asyncio.sleep(self._settings.min_refresh_interval)
            if fresh:
                await self._until_wanted()
            self._wanted.clear()
            fresh = await self._fetch()

    async def _until_wanted(self) -> None:
        try:
            async with asyncio.timeout(self._settings.refresh_interval):
                await self._wanted.wait()
        except TimeoutError:
            return

    async def _fetch(self) -> bool:
        settings = self._settings
        try:
            self.keys = KeySet(await self._client.get(self._service, "", settings.timeout, settings.max_bytes))
        except (CallFailed, ValueError) as error:
            log.error("keys cannot be fetched", provider=self._provider, error=str(error))
            return False
        return True
