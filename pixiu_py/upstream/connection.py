"""One HTTP/1.1 connection to an endpoint: a request at a time, and who takes its response.

A response is either *piped* (each chunk goes to the sink from ``data_received`` itself, no task woken) or *read* (pulled,
for bodies that somebody has to look at). At most one request is under way.

"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from aiohttp.streams import EMPTY_PAYLOAD

from pixiu_py.errors import PixiuError, UpstreamReset, UpstreamTimeout
from pixiu_py.http.body import take_buffered
from pixiu_py.upstream.chunks import SHORT, SHORT_CHUNKS, one_chunk
from pixiu_py.upstream.protocol import ResponseProtocol
from pixiu_py.upstream.response import UpstreamResponse
from pixiu_py.upstream.response_head import KnownResponses, ResponseMemory

if TYPE_CHECKING:
    from pixiu_py.http.body import Sink
    from pixiu_py.http.passage import Passage

#: Bodies below this are joined with the head into one write.
JOIN_LIMIT = 64 * 1024


class Owner(Protocol):
    """Who is told what becomes of a connection: its pool."""

    def release(self, connection: UpstreamConnection) -> None:
        """The response is complete and the connection may serve another request."""

    def lost(self, connection: UpstreamConnection) -> None:
        """The connection has closed."""


class UpstreamConnection(ResponseProtocol):
    """A client connection to one endpoint."""

    __slots__ = (
        "_first_byte_timeout",
        "_full",
        "_owner",
        "_passage",
        "_sink",
        "_uploading",
        "served",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, owner: Owner, heads: KnownResponses | None = None) -> None:
        super().__init__(loop, ResponseMemory(heads if heads is not None else KnownResponses()))
        self._owner = owner
        #: Requests answered so far: above 0, the connection is a reused one.
        self.served = 0
        self._sink: Sink | None = None
        #: The way past the sink for the next chunk, if it comes whole. None whenever that could not be passed on as it is.
        self._passage: Passage | None = None
        #: The sink has no room: nothing is taken from the endpoint until it has.
        self._full = False
        self._uploading = False
        self._first_byte_timeout = 0.0

    def __repr__(self) -> str:
        state = "closed" if self.transport is None else "idle" if self._finished else "busy"
        return f"<UpstreamConnection {state} served={self.served}>"

    # --- a request -------------------------------------------------------------------------------------------------

    def send(self, head: bytes, body: bytes = b"", *, with_body: bool = True, uploading: bool = False) -> None:
        """Write a request. ``with_body`` is False when the response cannot have one (HEAD); ``uploading`` announces more
        through ``upload()``.
        """
        self._expect(with_body)
        self._full = False
        self._uploading = uploading
        transport = self.transport
        if transport is None or transport.is_closing():
            self._fail(UpstreamReset("the connection had been closed"))
        elif len(body) < JOIN_LIMIT:
            transport.write(head + body)
        else:
            transport.writelines((head, body))

    async def upload(self, chunk: bytes) -> None:
        """Write a piece of a streamed request body and wait for room."""
        if not self.write_body(chunk):
            await self.room()

    def write_body(self, piece: bytes) -> bool:
        """Write a piece of a streamed request body. False: there is no more room. Raises ``UpstreamReset``."""
        if self.transport is None or self._error is not None:
            raise self._error or UpstreamReset("upstream closed while the request was being sent")
        self.transport.write(piece)
        if self._head is None:
            self._deadline.extend(self._first_byte_timeout)  # counted from the last piece
        return not self._paused

    async def room(self) -> None:
        """Wait until there is room for a piece of a streamed request body. Raises ``UpstreamReset``."""
        if not self._paused:
            return
        try:
            await self._drain_helper()
        except ConnectionError as error:
            raise UpstreamReset("upstream closed while the request was being sent") from error
        except asyncio.CancelledError:
            self._drain_waiter = None  # else aiohttp would have the next one wait for it again
            raise

    def uploaded(self) -> None:
        """The request body is complete; without this the connection is not used again."""
        self._uploading = False

    async def response(self, first_byte_timeout: float, idle_timeout: float) -> UpstreamResponse:
        """Wait for the response head. Times are in seconds, 0 for no limit. Raises ``UpstreamError``."""
        self._idle_timeout = idle_timeout
        self._deadline.set(first_byte_timeout, "first_byte")
        self._first_byte_timeout = first_byte_timeout
        try:
            while self._head is None:
                if self._error is not None:
                    raise self._error
                self._waiter = self._loop.create_future()
                await self._waiter
        except BaseException:
            self.abort()
            raise
        self._waiter = None
        head = self._head
        if not self._payload.is_eof() or self._upgraded or self._error is not None:
            self._deadline.set_loose(idle_timeout, "idle")
            return UpstreamResponse(self, head, head.length)
        length = head.length
        whole = self._whole
        if whole is None:
            whole = take_buffered(self._payload)
            if length is None and self._payload is EMPTY_PAYLOAD:
                length = 0  # a HEAD, 204 or 304 keeps the length that it announces
        self._complete()
        return UpstreamResponse(None, head, length, whole)

    # --- its body: piped -------------------------------------------------------------------------------------------

    async def pipe(self, sink: Sink) -> None:
        """Relay the body into ``sink`` until it is finished.

        The connection may serve another request before this coroutine has been told of the end, so that only ``served``
        tells whether this response is still under way.
        """
        serial = self.served
        self._sink = sink
        try:
            self._pump()
            if self.served == serial and not self._payload.total_bytes:
                sink.flush_head()
            while self.served == serial:
                if self._error is not None:
                    raise self._error
                await self._more(sink)
        except BaseException:
            if self.served == serial:
                self.abort()
            raise

    async def _more(self, sink: Sink) -> None:
        """Wait for the endpoint, or for the client when it is the slow one."""
        if not self._full:
            await self._wait()
            return
        await sink.drain()
        self._full = False
        self._deadline.set_loose(self._idle_timeout, "idle")
        self._resume_transport_reading()
        self._pump()

    def _pump(self) -> None:
        """Relay what is here, then what the parser had put aside."""
        self._relay()
        if self._parser_paused and self._sink is not None and not self._full:
            self._resume_parser()  # calls data_received, which relays
            if self._full:
                self._pause_transport_reading()  # resumed with the parser

    def data_received(self, data: bytes) -> None:
        """Send a chunk that came whole on to the client; anything else is looked at first. The hot path of every stream."""
        passage = self._passage
        if passage is not None and (length := len(data)) < SHORT:
            line, begin, size = SHORT_CHUNKS[length]
            if data[:begin] == line and data[passage.cut :] == passage.ends:
                try:
                    passage.transport.write(data)
                except RuntimeError:
                    pass  # it has closed, and the sink knows what that means
                else:
                    passage.third = passage.second
                    passage.second = passage.last
                    passage.last = data
                    passage.exchange.bytes_sent += size
                    self._deadline.moved = True
                    if passage.protocol._paused:
                        self._hold()
                    return
        self._passage = None
        if not self._relayed(data):
            ResponseProtocol.data_received(self, data)  # super() would cost the straight way something, too

    def _relayed(self, data: bytes) -> bool:
        """Hand a chunk that came whole to the sink. False: it is for the parser."""
        sink = self._sink
        if sink is None or not self._aligned or self._full or self._parser_paused or self._error is not None:
            return False
        chunk = one_chunk(data)
        if chunk is None:
            return False
        self._deadline.extend(self._idle_timeout)
        write = getattr(sink, "write_framed", None)
        try:
            if not (write(data, chunk) if write is not None else sink.write(chunk)):
                self._hold()
                return True
        except PixiuError as error:
            self.fail(error)
            return True
        grant = getattr(sink, "passage", None)
        if grant is not None:
            self._passage = grant()
        return True

    def _hold(self) -> None:
        """The sink is full: the client is the slow one now, and its own limit applies."""
        self._full = True
        self._passage = None
        self._deadline.clear()
        self._pause_transport_reading()
        self._wake()

    def _arrived(self) -> None:
        if self._sink is None:
            self._wake()
            return
        self._relay()
        if self._parser_paused:
            self._pump()  # very many small chunks came in one piece

    def _relay(self) -> None:
        """Hand what has come to the sink."""
        sink = self._sink
        if sink is None or self._full or self._error is not None:
            return
        chunk = take_buffered(self._payload)
        try:
            if self._payload.is_eof():
                self._sink = None
                sink.finish(chunk)
                self._complete()
            elif chunk and not sink.write(chunk):
                self._hold()
        except PixiuError as error:
            self.fail(error)

    # --- its body: pulled ------------------------------------------------------------------------------------------

    async def ready(self, timeout: float) -> bool:
        """Wait until there is something to read, for ``timeout`` seconds at most; tell whether there is."""
        try:
            async with asyncio.timeout(timeout):
                while not self.has_body:
                    if self._error is not None:
                        raise self._error
                    await self._wait()
        except TimeoutError:
            return False
        except BaseException:
            self.abort()
            raise
        return True

    async def read(self) -> bytes:
        """The next piece of the body; empty at the end."""
        while True:
            chunk = take_buffered(self._payload)
            if chunk:
                if self._parser_paused:
                    self._resume_parser()
                return chunk
            if self._payload.is_eof():
                self._complete()
                return b""
            if self._error is not None:
                raise self._error
            try:
                await self._wait()
            except BaseException:
                self.abort()
                raise

    # --- ending ----------------------------------------------------------------------------------------------------

    def _lost(self) -> None:
        self._owner.lost(self)

    def abort(self) -> None:
        """See ``ResponseProtocol.abort``."""
        self._sink = self._passage = None
        super().abort()

    def abandon(self) -> None:
        """The response is not wanted any more. Kept for reuse when it is complete already, closed otherwise."""
        if not self._finished and self._payload.is_eof() and self._head is not None:
            take_buffered(self._payload)
            self._complete()
        elif not self._finished:
            self.abort()

    def keep_alive(self, timeout: float) -> None:
        """Idle in the pool: close after ``timeout`` seconds."""
        self._deadline.set(timeout, "keep_alive")

    def _complete(self) -> None:
        self._finished = True
        self._sink = self._passage = None
        self.served += 1
        self._deadline.clear()
        reusable = self._is_reusable()
        self._head = self._whole = None
        if self.transport is not None:
            if reusable and not self.transport.is_closing():
                self._owner.release(self)
            else:
                self.transport.abort()
        self._wake()

    def _is_reusable(self) -> bool:
        head = self._head
        if head is None or head.closes or self._upgraded or self._uploading or self._parser_paused:
            return False
        if self._whole is not None:
            return True  # recognised: the parser has not seen it
        try:
            return self._parser.feed_eof() is None  # type: ignore[union-attr] # else it has begun to read something more
        except Exception:  # noqa: BLE001 - something more, and it is no HTTP
            return False

    def _deadline_passed(self, phase: str) -> None:
        if not self._finished:
            self.fail(UpstreamTimeout(phase))
        elif self.transport is not None:
            self.transport.close()  # idle in the pool
