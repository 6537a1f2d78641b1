"""An upgraded connection (WebSocket): bytes in both directions until either side ends, with back-pressure both ways."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pixiu_py.errors import ClientGone

if TYPE_CHECKING:
    from collections.abc import Callable

    from pixiu_py.http.body import Sink
    from pixiu_py.http.connection import DownstreamConnection
    from pixiu_py.upstream.connection import UpstreamConnection


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


class TunnelBody:
    """The body of a 101 response."""

    length: int | None = None

    def __init__(self, upstream: UpstreamConnection, downstream: DownstreamConnection, idle_timeout: float) -> None:
        self._upstream = upstream
        self._downstream = downstream
        self._idle_timeout = idle_timeout
        self._sink: Sink | None = None
        self._changed = asyncio.Event()
        self._ended = False
        self._active = False
        self._client_full = False
        self._endpoint_full = False

    async def pipe(self, sink: Sink) -> None:
        """Relay both directions; each chunk goes across in the call that brought it."""
        self._sink = sink
        sink.flush_head()
        try:
            self._upstream.start_tunnel(self._from_upstream)
            self._downstream.start_tunnel(self._from_client)
            while not self._ended:
                await self._next_change()
                await self._relieve(sink)
        finally:
            self.abort()
        sink.finish()

    def abort(self) -> None:
        """Close the endpoint's side."""
        self._upstream.abort()

    async def _next_change(self) -> None:
        """Wait until a side is full or has ended; a tunnel that was silent for the whole idle time has ended too."""
        self._active = False
        try:
            async with asyncio.timeout(self._idle_timeout or None):
                await self._changed.wait()
            self._changed.clear()
        except TimeoutError:
            self._ended = self._ended or not self._active

    async def _relieve(self, sink: Sink) -> None:
        if self._client_full:
            await sink.drain()
            self._client_full = False
            self._upstream._resume_transport_reading()
        if self._endpoint_full:
            try:
                await self._upstream._drain_helper()
            except ConnectionError:
                self._ended = True
            self._endpoint_full = False
            self._downstream._resume_transport_reading()

    def _from_upstream(self, data: bytes) -> None:
        self._active = True
        if not data:
            self._end()
            return
        try:
            if self._sink is not None and not self._sink.write(data):
                self._client_full = True
                self._upstream._pause_transport_reading()
                self._changed.set()
        except ClientGone:
            self._end()

    def _from_client(self, data: bytes) -> None:
        self._active = True
        transport = self._upstream.transport
        if not data or transport is None:
            self._end()
            return
        transport.write(data)
        if self._upstream.writing_paused:
            self._endpoint_full = True
            self._downstream._pause_transport_reading()
            self._changed.set()

    def _end(self) -> None:
        self._ended = True
        self._changed.set()
