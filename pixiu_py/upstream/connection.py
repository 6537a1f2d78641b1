"""One HTTP/1.1 connection to an endpoint, on aiohttp's response parser.

A response is either *piped* (each chunk goes to the sink from ``data_received`` itself, no task woken) or *read* (pulled,
for bodies that somebody has to look at). At most one request is under way.

This module and ``http/writer.py`` with ``http/server.py`` are the only ones that lean on aiohttp's internals; each name
used is listed in ``tests/unit/test_aiohttp_internals.py``. Foreign errors end here: what leaves is an ``UpstreamError``.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpResponseParser
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from pixiu_py.errors import PixiuError, UpstreamError, UpstreamProtocolError, UpstreamReset, UpstreamTimeout
from pixiu_py.http.body import take_buffered
from pixiu_py.upstream.deadline import Deadline
from pixiu_py.upstream.response import UpstreamResponse, content_length

if TYPE_CHECKING:
    from aiohttp.http import RawResponseMessage

    from pixiu_py.http.body import Sink

#: The parser stops reading above twice this many unread bytes. One read of the event loop is at most 256 KiB, so a piped
#: body, which is emptied after each read, never gets there; a body nobody takes stays below half a mebibyte.
READ_LIMIT = 256 * 1024
#: Bodies below this are joined with the head into one write.
JOIN_LIMIT = 64 * 1024


class Owner(Protocol):
    """Who is told what becomes of a connection: its pool."""

    def release(self, connection: UpstreamConnection) -> None:
        """The response is complete and the connection may serve another request."""

    def lost(self, connection: UpstreamConnection) -> None:
        """The connection has closed."""


class UpstreamConnection(BaseProtocol):
    """A client connection to one endpoint."""

    __slots__ = (
        "_bytes_seen",
        "_deadline",
        "_error",
        "_finished",
        "_first_byte_timeout",
        "_full",
        "_idle_timeout",
        "_message",
        "_owner",
        "_parser_paused",
        "_payload",
        "_sink",
        "_tunnel",
        "_uploading",
        "_waiter",
        "_with_body",
        "served",
        "tail",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, owner: Owner) -> None:
        super().__init__(loop)
        self._owner = owner
        self._with_body = True
        self._parser = self._new_parser()
        #: Requests answered so far: above 0, the connection is a reused one.
        self.served = 0
        #: Bytes that followed a 101, for the tunnel.
        self.tail = b""
        self._message: RawResponseMessage | None = None
        self._payload: StreamReader = EMPTY_PAYLOAD
        self._sink: Sink | None = None
        self._tunnel: Any = None
        self._waiter: asyncio.Future[None] | None = None
        self._error: PixiuError | None = None
        self._bytes_seen = False
        self._finished = True
        self._full = False
        #: The parser has put something aside, or means to do so with the next piece of a body.
        self._parser_paused = False
        self._uploading = False
        self._first_byte_timeout = 0.0
        self._idle_timeout = 0.0
        self._deadline = Deadline(loop, self._deadline_passed)

    def __repr__(self) -> str:
        state = "closed" if self.transport is None else "idle" if self._finished else "busy"
        return f"<UpstreamConnection {state} served={self.served}>"

    # --- a request -------------------------------------------------------------------------------------------------

    def send(self, head: bytes, body: bytes = b"", *, with_body: bool = True, uploading: bool = False) -> None:
        """Write a request. ``with_body`` is False when the response cannot have one (HEAD); ``uploading`` announces more
        through ``upload()``.
        """
        if with_body is not self._with_body:
            self._with_body = with_body
            self._parser = self._new_parser()
        self._message = None
        self._payload = EMPTY_PAYLOAD
        self._error = None
        self._bytes_seen = self._finished = self._full = False
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
        if self.transport is None or self._error is not None:
            raise self._error or UpstreamReset("upstream closed while the request was being sent")
        self.transport.write(chunk)
        if self._message is None:
            self._deadline.extend(self._first_byte_timeout)  # counted from the last piece
        if self._paused:
            try:
                await self._drain_helper()
            except ConnectionError as error:
                raise UpstreamReset("upstream closed while the request was being sent") from error

    def uploaded(self) -> None:
        """The request body is complete; without this the connection is not used again."""
        self._uploading = False

    async def response(self, first_byte_timeout: float, idle_timeout: float) -> UpstreamResponse:
        """Wait for the response head. Times are in seconds, 0 for no limit. Raises ``UpstreamError``."""
        self._idle_timeout = idle_timeout
        self._deadline.set(first_byte_timeout, "first_byte")
        self._first_byte_timeout = first_byte_timeout
        try:
            while self._message is None:
                if self._error is not None:
                    raise self._error
                await self._wait()
        except BaseException:
            self.abort()
            raise
        if not self._payload.is_eof():
            self._deadline.set(idle_timeout, "idle")
        message = self._message
        length = content_length(message)
        if length is None and self._payload is EMPTY_PAYLOAD:
            length = 0  # a HEAD, 204 or 304 keeps the length that it announces
        return UpstreamResponse(self, message, length)

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
        self._deadline.set(self._idle_timeout, "idle")
        self._resume_transport_reading()
        self._pump()

    def _pump(self) -> None:
        """Relay what is here, then what the parser had put aside."""
        self._relay()
        if self._parser_paused and self._sink is not None and not self._full:
            self._resume_parser()  # calls data_received, which relays
            if self._full:
                self._pause_transport_reading()  # resumed with the parser

    def _relay(self) -> None:
        """Hand what has come to the sink. Called from ``data_received``: the hot path of every stream."""
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
                self._full = True
                self._deadline.clear()  # the client is the slow one now; its own limit applies
                self._pause_transport_reading()
                self._wake()
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

    @property
    def has_body(self) -> bool:
        """True when a piece of the body is here, or its end."""
        payload = self._payload
        return payload.is_eof() or bool(payload._buffer)  # EMPTY_PAYLOAD has no buffer, and is at its end

    # --- events of the transport -----------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Parse what came and pass it on."""
        if self._tunnel is not None:
            self._tunnel(data)
            return
        if self._finished and data:
            self.abort()  # bytes that nobody asked for: the endpoint and we disagree about where a response ends
            return
        self._bytes_seen = True
        try:
            messages, upgraded, tail = self._parser.feed_data(data)  # type: ignore[union-attr] # set until it is lost
        except Exception as error:  # noqa: BLE001 - whatever a broken response raises in the parser
            self.fail(UpstreamProtocolError(f"not a valid HTTP response: {type(error).__name__}"))
            return
        if upgraded:
            self._upgraded = True
            self.tail += tail
            self._pause_transport_reading()
        for message, payload in messages:
            self._head_received(message, payload)
        if self._message is not None:
            self._deadline.extend(self._idle_timeout)
        if self._sink is None:
            self._wake()
            return
        self._relay()
        if self._parser_paused:
            self._pump()  # very many small chunks came in one piece

    def pause_reading(self) -> None:
        """Called by aiohttp: too many bytes, or too many chunks, have come that nobody has taken."""
        self._parser_paused = True
        super().pause_reading()

    def _resume_parser(self) -> None:
        self._parser_paused = False
        self.resume_reading()

    def _head_received(self, message: RawResponseMessage, payload: StreamReader) -> None:
        if message.code < 200 and message.code != 101:
            return  # interim: it concerns this hop, or tells nothing a client waits for
        if self._message is not None:
            self.fail(UpstreamProtocolError("two responses to one request"))
            return
        self._message = message
        self._payload = payload

    def eof_received(self) -> None:
        """The endpoint has closed its side; the transport closes, and ``connection_lost`` follows."""

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection is gone: end what was under way, in the way that fits."""
        parser = self._parser
        super().connection_lost(exc)
        self._deadline.close()
        if not self._finished:
            if self._message is not None and self._payload.is_eof():
                self._wake()  # the response had come whole
            elif exc is None and self._message is not None and self._error is None:
                self._end_of_input(parser)
            else:
                self._fail(UpstreamReset(bytes_seen=self._bytes_seen))
        if self._tunnel is not None:
            self._tunnel(b"")
        self._owner.lost(self)

    def _end_of_input(self, parser: Any) -> None:
        """A clean close: the end of a body that has no other end, a truncation otherwise."""
        try:
            parser.feed_eof()
        except Exception:  # noqa: BLE001 - aiohttp's several "not enough data" errors
            self._relay()
            self._fail(UpstreamReset("upstream closed in the middle of the body", bytes_seen=True))
            return
        if self._sink is not None:
            self._relay()
        self._wake()

    # --- ending ----------------------------------------------------------------------------------------------------

    def start_tunnel(self, receive: Any) -> None:
        """After a 101: pass everything that comes to ``receive(bytes)``; empty bytes mean the end."""
        self._deadline.close()
        self._tunnel = receive
        if self.tail:
            tail, self.tail = self.tail, b""
            receive(tail)
        if self.transport is None:
            receive(b"")  # it has ended already
        self._resume_transport_reading()

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        self._sink = None
        if not self._finished:
            self._fail(UpstreamReset("the connection was given up", bytes_seen=self._bytes_seen))
        if self.transport is not None:
            self.transport.abort()

    def fail(self, error: PixiuError) -> None:
        """End what is under way with ``error``."""
        self._fail(error)
        self.abort()

    def abandon(self) -> None:
        """The response is not wanted any more. Kept for reuse when it is complete already, closed otherwise."""
        if not self._finished and self._payload.is_eof() and self._message is not None:
            take_buffered(self._payload)
            self._complete()
        elif not self._finished:
            self.abort()

    def keep_alive(self, timeout: float) -> None:
        """Idle in the pool: close after ``timeout`` seconds."""
        self._deadline.set(timeout, "keep_alive")

    def _complete(self) -> None:
        self._finished = True
        self._sink = None
        self.served += 1
        self._deadline.clear()
        if self.transport is not None:
            if self._is_reusable() and not self.transport.is_closing():
                self._owner.release(self)
            else:
                self.transport.abort()
        self._wake()

    def _is_reusable(self) -> bool:
        message = self._message
        if message is None or message.should_close or self._upgraded or self._uploading or self._parser_paused:
            return False
        try:
            return self._parser.feed_eof() is None  # type: ignore[union-attr] # else it has begun to read something more
        except Exception:  # noqa: BLE001 - something more, and it is no HTTP
            return False

    def _fail(self, error: PixiuError) -> None:
        if self._error is None:
            self._error = error
        self._deadline.clear()
        self._wake()

    # --- waiting and time ------------------------------------------------------------------------------------------

    async def _wait(self) -> None:
        waiter = self._waiter = self._loop.create_future()
        try:
            await waiter
        finally:
            if self._waiter is waiter:  # it is another's when the connection serves the next request already
                self._waiter = None

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _deadline_passed(self, phase: str) -> None:
        if not self._finished:
            self.fail(UpstreamTimeout(phase))
        elif self.transport is not None:
            self.transport.close()  # idle in the pool

    def _new_parser(self) -> Any:
        return HttpResponseParser(
            self,
            self._loop,
            READ_LIMIT,
            max_line_size=65536,
            max_field_size=65536,
            max_headers=512,
            payload_exception=UpstreamError,
            response_with_body=self._with_body,
            read_until_eof=True,
            auto_decompress=False,
        )
