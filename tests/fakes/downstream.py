"""A server of downstream connections without a gateway behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from pixiu_py.http.connection import DownstreamConnection, RawRequest
from pixiu_py.http.server import DownstreamServer
from tests.fakes.client import PATIENCE

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Handle = Callable[[RawRequest], Awaitable[bool]]


class Running:
    """A server on a port of its own, and what its handler saw."""

    def __init__(self, handle: Handle | None, **options: Any) -> None:
        self.handled: list[RawRequest] = []
        self._handle = handle
        self.server = DownstreamServer(self.handle, **options)
        self.port = 0

    async def handle(self, raw: RawRequest) -> bool:
        self.handled.append(raw)
        if self._handle is not None:
            return await self._handle(raw)
        raw.protocol.transport.write(OK)
        return True

    @property
    def connection(self) -> DownstreamConnection:
        """The only one there is."""
        (connection,) = self.server.connections
        assert isinstance(connection, DownstreamConnection)
        return connection

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                await asyncio.sleep(0.001)


@asynccontextmanager
async def serving(handle: Handle | None = None, **options: Any) -> AsyncIterator[Running]:
    running = Running(handle, **options)
    acceptor = await asyncio.get_running_loop().create_server(running.server, "127.0.0.1", 0)
    running.port = acceptor.sockets[0].getsockname()[1]
    try:
        yield running
    finally:
        acceptor.close()
        await running.server.end()
    async with asyncio.timeout(PATIENCE):
        await running.server.all_closed()
