"""Downstream connections: aiohttp's low-level server, with our replies where aiohttp would write its own.

Parsing, pipelining, keep-alive and lingering close stay aiohttp's. Added here: JSON errors for malformed requests instead
of text with a logged traceback, a limit on connections, and the ends of an upgraded connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import structlog
from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import RequestHandler

from pixiu_py.http.local_reply import local_reply

if TYPE_CHECKING:
    from aiohttp.http import RawRequestMessage
    from aiohttp.streams import StreamReader

log = structlog.get_logger("pixiu_py.http")


class RawRequest:
    """What aiohttp's parser made of a request: its stand-in for ``BaseRequest``, with no more than is used."""

    __slots__ = ("_task", "message", "payload", "protocol", "writer")

    def __init__(
        self, message: RawRequestMessage, payload: StreamReader, protocol: DownstreamConnection, writer: Any, task: Any
    ) -> None:
        self.message = message
        self.payload = payload
        self.protocol = protocol
        self.writer = writer
        self._task = task

    def _finish(self) -> None:
        """Called by aiohttp when the handler has returned."""

    def _cancel(self, exc: BaseException) -> None:
        """Called by aiohttp when the client has gone: a handler that reads the body must hear of it."""
        self.payload.set_exception(exc)


class Sent:
    """Tells aiohttp that the response has been written, and whether the connection goes on."""

    __slots__ = ("keep_alive",)

    def __init__(self, keep_alive: bool) -> None:
        self.keep_alive = keep_alive

    async def prepare(self, request: Any) -> None:
        """Nothing is left to do."""

    async def write_eof(self) -> None:
        """Nothing is left to do."""


Handler = Callable[[RawRequest], Awaitable[Sent]]


class DownstreamConnection(RequestHandler):
    """One client connection."""

    __slots__ = ("_tunnel",)

    def __init__(self, manager: DownstreamServer, **kwargs: Any) -> None:
        super().__init__(manager, **kwargs)
        self._tunnel: Tunnel | None = None

    @property
    def idle(self) -> bool:
        """True when no request is being handled or waits to be."""
        return self._current_request is None and not self._messages

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, unless there are too many."""
        manager = self._manager
        if isinstance(manager, DownstreamServer) and manager.full:
            log.warning("connection refused: max_connections reached", limit=manager.max_connections)
            self._manager = None
            transport.abort()  # type: ignore[attr-defined]
            return
        super().connection_made(transport)

    def send_continue(self) -> None:
        """Tell a client that waits for it to send its body (RFC 9110 §10.1.1)."""
        if self.transport is not None:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def start_tunnel(self, receive: Callable[[bytes], None]) -> None:
        """After a 101: pass every byte from the client to ``receive``."""
        self.keep_alive(False)
        self._tunnel = Tunnel(receive)
        self.set_parser(self._tunnel)  # type: ignore[arg-type]

    def connection_lost(self, exc: BaseException | None) -> None:
        """The client has gone."""
        tunnel, self._tunnel = self._tunnel, None
        super().connection_lost(exc)
        if tunnel is not None:
            tunnel.feed_eof()

    def handle_error(
        self, request: Any, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> Any:
        """A request that could not be parsed, or a fault in our own handler."""
        if status >= 500:
            log.error("handler failed", exc_info=exc)
        else:
            log.info("malformed request", peer=str(self.peername), error=type(exc).__name__)
        if isinstance(exc, LineTooLong):
            status = 431
        transport = self.transport
        if transport is not None:
            transport.write(_refusal(status))
        return Sent(keep_alive=False)


def _refusal(status: int) -> bytes:
    """A whole response for a request that never became an exchange."""
    response = local_reply(status, "" if status >= 500 else "malformed HTTP request")
    body = response.body if isinstance(response.body, bytes) else b""
    head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: application/json\r\n"
    return b"%bContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (head.encode("ascii"), len(body), body)


class Tunnel:
    """aiohttp hands the bytes of an upgraded connection to a payload parser; this one passes them on."""

    def __init__(self, receive: Callable[[bytes], None]) -> None:
        self._receive = receive

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Bytes from the client."""
        self._receive(data)
        return False, b""

    def feed_eof(self) -> None:
        """The client has closed."""
        self._receive(b"")


class DownstreamServer(web.Server):
    """Makes a ``DownstreamConnection`` for each client, and knows all of them."""

    def __init__(self, handler: Handler, *, max_connections: int = 0, **kwargs: Any) -> None:
        super().__init__(
            handler,  # type: ignore[arg-type]
            request_factory=RawRequest,  # type: ignore[arg-type]
            handler_cancellation=True,  # a client that leaves cancels its exchange at once
        )
        self._options = kwargs
        self.max_connections = max_connections
        self._all_closed: asyncio.Event | None = None

    @property
    def full(self) -> bool:
        """True when no further connection may be taken."""
        return bool(self.max_connections) and len(self._connections) >= self.max_connections

    def __call__(self) -> DownstreamConnection:
        return DownstreamConnection(self, loop=self._loop, access_log=None, auto_decompress=False, **self._options)

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

    def close_idle(self) -> None:
        """Close the connections that have no request under way."""
        for connection in self.connections:
            if isinstance(connection, DownstreamConnection) and connection.idle:
                connection.force_close()
