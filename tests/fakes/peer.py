"""One upstream connection with a test at either end: what the gateway's side is told, what the endpoint's side sends."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Coroutine
from typing import Any, TypeVar

from pixiu_py.upstream.connection import UpstreamConnection

T = TypeVar("T")

#: Longest wait for anything; a test that hits it has failed.
PATIENCE = 5.0
REQUEST = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


def start(coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Run something beside the test, which awaits or cancels it."""
    return asyncio.get_running_loop().create_task(coroutine)


class Owner:
    """Remembers what became of its connections."""

    def __init__(self) -> None:
        self.released: list[UpstreamConnection] = []
        self.gone = asyncio.Event()

    def release(self, connection: UpstreamConnection) -> None:
        self.released.append(connection)

    def lost(self, connection: UpstreamConnection) -> None:
        assert not self.gone.is_set(), "lost twice"
        self.gone.set()


class Watched(UpstreamConnection):
    """A connection that tells when its parser has had enough."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.parser_paused = asyncio.Event()

    def pause_reading(self) -> None:
        self.parser_paused.set()
        super().pause_reading()


class Peer:
    """A listening socket; ``connect()`` gives the gateway's end of a connection to it, ``send()`` speaks for the endpoint."""

    def __init__(self) -> None:
        self.owner = Owner()
        self._accepted: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        self._ends: list[Any] = []

    async def __aenter__(self) -> Peer:
        self._server = await asyncio.start_server(lambda *ends: self._accepted.put_nowait(ends), "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for transport in self._ends:
            transport.abort()
        await asyncio.sleep(0)

    async def connect(self) -> Watched:
        """A new connection."""
        loop = asyncio.get_running_loop()
        host, port = self._server.sockets[0].getsockname()
        async with asyncio.timeout(PATIENCE):
            transport, connection = await loop.create_connection(lambda: Watched(loop, self.owner), host, port)
            self.reader, self.writer = await self._accepted.get()
        self._ends += [transport, self.writer.transport]
        return connection

    async def ask(self, request: bytes = REQUEST, **options: Any) -> Watched:
        """A connection over which a request has been sent and received."""
        connection = await self.connect()
        connection.send(request, **options)
        await self.received(len(request))
        return connection

    async def received(self, size: int) -> bytes:
        """The next bytes that the endpoint got."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readexactly(size)

    def send(self, *pieces: bytes) -> None:
        """Speak for the endpoint."""
        for piece in pieces:
            self.writer.write(piece)

    def close(self) -> None:
        """End the connection properly, after what has been sent."""
        self.writer.close()

    async def reset(self) -> None:
        """End the connection with a reset, after what has been sent."""
        self.writer.transport.set_write_buffer_limits(0)
        await self.writer.drain()
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def lost(self) -> None:
        """Wait until the connection's owner has heard that it is gone."""
        async with asyncio.timeout(PATIENCE):
            await self.owner.gone.wait()


class SlowSink:
    """A sink that is full after ``room`` writes, and again after each drain; ``opened`` lets a drain return."""

    def __init__(self, room: int = 1) -> None:
        self.chunks: list[bytes] = []
        self.finished = False
        self.head_flushed = asyncio.Event()
        self.full = asyncio.Event()
        self.opened = asyncio.Event()
        self._room = room

    @property
    def content(self) -> bytes:
        """Everything written so far."""
        return b"".join(self.chunks)

    def write(self, chunk: bytes) -> bool:
        assert chunk, "an empty write"
        assert not self.full.is_set(), "a write into a full sink"
        self.chunks.append(chunk)
        self._room -= 1
        if self._room <= 0:
            self.full.set()
        return self._room > 0

    async def drain(self) -> None:
        await self.opened.wait()
        self.full.clear()
        self._room = 1

    def flush_head(self) -> None:
        self.head_flushed.set()

    def finish(self, chunk: bytes = b"") -> None:
        if chunk:
            self.chunks.append(chunk)
        self.finished = True
