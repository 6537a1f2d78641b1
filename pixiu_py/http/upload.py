"""A request body of known length on its way through: from the client's connection to the endpoint's, no task woken.

Once the head has been parsed, the bytes that follow need no parser, only counting. So they go from ``data_received`` of the one
connection into ``write`` of the other, uncopied. A task waits beside them: for the end, and for room when the endpoint is
slow; in that case the client's socket is not read. Nobody is told then that the client has left, so that is looked for.
"""

from __future__ import annotations

import asyncio
import select
from typing import TYPE_CHECKING, Protocol

from aiohttp.streams import StreamReader

from pixiu_py.errors import BodyTimeout, DownstreamError, PixiuError
from pixiu_py.http.body import take_buffered
from pixiu_py.upstream.deadline import Deadline

if TYPE_CHECKING:
    from pixiu_py.http.body import RequestBody
    from pixiu_py.http.connection import DownstreamConnection

#: Seconds between two looks whether the client is still there, while its socket is not read.
LOOK_INTERVAL = 1.0
_HANGUP = getattr(select, "POLLRDHUP", 0)  # besides POLLHUP and POLLERR, which come unasked; only Linux has it


class UploadSink(Protocol):
    """Takes the bytes of a request body."""

    def write_body(self, piece: bytes) -> bool:
        """Take a piece. False: there is no more room. Raises ``UpstreamError``."""

    async def room(self) -> None:
        """Wait until there is room. Raises ``UpstreamError``."""


class Upload:
    """One request body, from the moment its rest is not parsed any more. aiohttp takes it for a payload parser."""

    def __init__(self, connection: DownstreamConnection, source: StreamReader, body: RequestBody, left: int) -> None:
        self._connection = connection
        self._source = source
        self._body = body
        self._left = left
        self._idle_timeout = body.idle_timeout
        self._sink: UploadSink | None = None
        self._full = False
        self._error: PixiuError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._deadline = Deadline(self._loop, self._deadline_passed)
        #: Bytes behind the body: of the next request.
        self.tail = b""

    async def run(self, sink: UploadSink) -> None:
        """Pass everything on. What comes after this has ended, however it has, is counted and thrown away."""
        self._sink = sink
        self._deadline.set(self._idle_timeout, "idle")
        try:
            while self._left and self._error is None:
                self._waiter = self._loop.create_future()
                await self._waiter
                if self._full and self._error is None:
                    await self._room(sink)
            if self._error is not None:
                raise self._error
        finally:
            self._sink = self._waiter = None
            self._deadline.close()
            if self._full:
                self._full = False
                self._resume()

    async def _room(self, sink: UploadSink) -> None:
        self._deadline.set(LOOK_INTERVAL, "look")
        await sink.room()
        self._full = False
        self._deadline.set(self._idle_timeout, "idle")
        self._resume()

    def _resume(self) -> None:
        if not self.tail:
            self._connection._resume_transport_reading()

    # --- what comes from the client --------------------------------------------------------------------------------

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Bytes from the client: the hot path of every upload."""
        if len(data) > self._left:
            self.tail += data[self._left :]
            data = data[: self._left]
            self._connection._pause_transport_reading()  # until this request has been answered
        size = len(data)
        if size:
            self._left -= size
            self._body.received += size
            if self._sink is not None:
                self._pass_on(self._sink, data)
            if not self._left:
                self._source.feed_eof()
                self._wake()
        return False, b""

    def _pass_on(self, sink: UploadSink, data: bytes) -> None:
        try:
            if sink.write_body(data):
                self._deadline.extend(self._idle_timeout)
                return
        except PixiuError as error:
            self._fail(error)
            return
        self._full = True
        self._connection._pause_transport_reading()
        self._wake()

    def feed_eof(self) -> None:
        """The client has gone; whoever handles its request is cancelled, too."""
        self._fail(DownstreamError("the request body is incomplete"))

    # --- ends ------------------------------------------------------------------------------------------------------

    def _deadline_passed(self, phase: str) -> None:
        if phase == "idle":
            self._fail(BodyTimeout("the client stopped sending its body"))
            return
        transport = self._connection.transport
        if transport is not None and has_left(transport):
            transport.abort()
        else:
            self._deadline.set(LOOK_INTERVAL, "look")

    def _fail(self, error: PixiuError) -> None:
        if self._error is None:
            self._error = error
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


async def pipe_body(body: RequestBody, connection: DownstreamConnection, sink: UploadSink) -> None:
    """Pass a body of known length on to ``sink``. Raises ``DownstreamError``, ``UpstreamError``."""
    source = body.source
    body.begin_stream()
    while True:
        piece = take_buffered(source)
        if piece:
            body.received += len(piece)
            if not sink.write_body(piece):
                await room_or_gone(sink, connection)
        elif source.is_eof():
            return
        elif source.exception() is not None:
            raise DownstreamError("the request body is malformed or incomplete") from source.exception()
        elif connection.has_unparsed:
            connection.resume_reading()
        else:
            break
    left = (body.length or 0) - body.received
    upload = Upload(connection, source, body, left)
    connection.set_parser(upload)  # type: ignore[arg-type]
    await upload.run(sink)


async def room_or_gone(sink: UploadSink, connection: DownstreamConnection | None) -> None:
    """Wait until ``sink`` has room; a client that leaves meanwhile ends its exchange, as it would at any other time."""
    while True:
        try:
            async with asyncio.timeout(LOOK_INTERVAL):
                await sink.room()
                return
        except TimeoutError:
            transport = connection.transport if connection is not None else None
            if transport is not None and has_left(transport):
                transport.abort()


def has_left(transport: asyncio.Transport) -> bool:
    """True when the other side has closed, though bytes may be there that nobody has read: the kernel tells."""
    sock = transport.get_extra_info("socket")
    if sock is None or transport.is_closing():
        return False
    poll = select.poll()
    poll.register(sock.fileno(), _HANGUP)
    return bool(poll.poll(0))
