"""Key sets that are fetched, and fetched again: at an interval, and when a token names a key that is not there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, DummyCookieJar

from pixiu_py.filters.http.jwt.keys import KeySet
from pixiu_py.tasks import Tasks

if TYPE_CHECKING:
    from pixiu_py.filters.http.jwt.model import HttpUri

log = structlog.get_logger("pixiu_py.filters.jwt")


class RemoteKeys:
    """The keys at a URL. What was fetched last stays until something better has been fetched."""

    def __init__(self, provider: str, settings: HttpUri) -> None:
        self.keys: KeySet | None = None
        self._provider = provider
        self._settings = settings
        self._session: ClientSession | None = None
        self._tasks = Tasks(f"keys of {provider}")
        self._wanted = asyncio.Event()

    async def start(self) -> None:
        """Fetch the keys and keep them fresh. That they cannot be had now does not keep the gateway from starting."""
        timeout = ClientTimeout(total=self._settings.timeout)
        self._session = ClientSession(cookie_jar=DummyCookieJar(), timeout=timeout)
        fresh = await self._fetch(self._session)
        self._refreshing = self._tasks.spawn(self._refresh(self._session, fresh), "refresh")

    async def close(self) -> None:
        """Fetch no more."""
        await self._tasks.close()
        if self._session is not None:
            await self._session.close()

    def missed(self) -> None:
        """A token names a key that is not here: look for it soon."""
        self._wanted.set()

    async def _refresh(self, session: ClientSession, fresh: bool) -> None:
        while True:
            await asyncio.sleep(self._settings.min_refresh_interval)
            if fresh:
                await self._until_wanted()
            self._wanted.clear()
            fresh = await self._fetch(session)

    async def _until_wanted(self) -> None:
        try:
            async with asyncio.timeout(self._settings.refresh_interval):
                await self._wanted.wait()
        except TimeoutError:
            return

    async def _fetch(self, session: ClientSession) -> bool:
        try:
            async with session.get(self._settings.uri, allow_redirects=False) as response:
                self.keys = KeySet(await self._read(response))
        except (ClientError, OSError, ValueError) as error:  # a timeout is an OSError
            log.error("keys cannot be fetched", provider=self._provider, error=str(error) or "timeout")
            return False
        return True

    async def _read(self, response: ClientResponse) -> bytes:
        if response.status != 200:
            raise ValueError(f"status {response.status}")
        body = b""
        async for chunk in response.content.iter_chunked(65536):
            body += chunk
            if len(body) > self._settings.max_bytes:
                raise ValueError(f"it is larger than {self._settings.max_bytes} bytes")
        return body
