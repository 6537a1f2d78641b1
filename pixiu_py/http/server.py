"""All connections of clients to one port: aiohttp's low-level server, a limit on them, and an end for all of them."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import structlog
from aiohttp import web

from pixiu_py.http.connection import DownstreamConnection
from pixiu_py.http.known_head import HeadMemory, KnownHeads
from pixiu_py.observability.seldom import Seldom

if TYPE_CHECKING:
    from aiohttp.web_protocol import RequestHandler

    from pixiu_py.http.connection import Handler


log = structlog.get_logger("pixiu_py.http")


class DownstreamServer(web.Server):
    """Makes a ``DownstreamConnection`` for each client, and knows all of them."""

    def __init__(self, handler: Handler, *, max_connections: int = 0, **kwargs: Any) -> None:
        super().__init__(
            handler,  # type: ignore[arg-type]
            handler_cancellation=True,  # a client that leaves cancels its exchange at once
        )
        self._handler = handler
        self._options = kwargs
        self.max_connections = max_connections
        self._refused = Seldom(time.monotonic)
        self._all_closed: asyncio.Event | None = None
        self._heads = KnownHeads()

    @property
    def full(self) -> bool:
        """True when no further connection may be taken."""
        return bool(self.max_connections) and len(self._connections) >= self.max_connections

    def __call__(self) -> DownstreamConnection:
        return DownstreamConnection(
            self,
            self._handler,
            HeadMemory(self._heads),
            loop=self._loop,
            access_log=None,
            auto_decompress=False,
            **self._options,
        )

    def tell_full(self) -> None:
        """Say that connections are turned away, and how many, once in a while: there may be very many of them."""
        count = self._refused.happened()
        if count:
            log.warning("connection refused: max_connections reached", limit=self.max_connections, refused=count)

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """A connection has closed; it counts until its handler has ended too."""
        task = handler._task_handler
        if task is None:
            self._forget(handler)
        else:
            task.add_done_callback(lambda _: self._forget(handler))

    def _forget(self, handler: RequestHandler) -> None:
        self._connections.pop(handler, None)
        if self._all_closed is not None and not self._connections:
            self._all_closed.set()

    async def all_closed(self) -> None:
        """Wait until no connection is left."""
        if self._connections:
            self._all_closed = asyncio.Event()
            await self._all_closed.wait()

    async def end(self) -> None:
        """Cancel what is under way and close every connection."""
        connections = self.connections
        tasks = [connection._task_handler for connection in connections if connection._task_handler is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in connections:
            connection.force_close()

    def idle_and_busy(self) -> tuple[int, int]:
        """How many connections have no request under way, and how many have one."""
        connections = self.connections
        idle = sum(isinstance(connection, DownstreamConnection) and connection.idle for connection in connections)
        return idle, len(connections) - idle

    def close_idle(self) -> None:
        """Close the connections that have no request under way."""
        for connection in self.connections:
            if isinstance(connection, DownstreamConnection) and connection.idle:
                connection.force_close()
