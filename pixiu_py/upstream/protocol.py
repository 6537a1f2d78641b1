"""The endpoint's side of a connection: bytes in, a response out, foreign errors turned into ``UpstreamError``.

``ResponseProtocol`` feeds aiohttp's response parser and keeps what it makes: the head, the body's pieces, or the reason why
there will be no more. Who wants them, and when, is the business of ``connection.py``.

What leans on aiohttp's internals is listed, name by name, in ``tests/unit/test_aiohttp_internals.py``.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpResponseParser
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from pixiu_py.errors import PixiuError, UpstreamError, UpstreamProtocolError, UpstreamReset
from pixiu_py.upstream.chunks import head_size, whole_chunks
from pixiu_py.upstream.deadline import Deadline
from pixiu_py.upstream.response_head import ResponseHead, has_other

if TYPE_CHECKING:
    from aiohttp.http import RawResponseMessage

    from pixiu_py.upstream.response_head import ResponseMemory

#: The parser stops reading above twice this many unread bytes. One read of the event loop is at most 256 KiB, so a piped
#: body, which is emptied after each read, never gets there; a body nobody takes stays below half a mebibyte.
READ_LIMIT = 256 * 1024


class ResponseProtocol(BaseProtocol):
    """Reads the responses of one connection, one at a time."""

    __slots__ = (
        "_aligned",
        "_bytes_seen",
        "_deadline",
        "_error",
        "_finished",
        "_head",
        "_heads",
        "_idle_timeout",
        "_parser_paused",
        "_payload",
        "_tunnel",
        "_waiter",
        "_was_chunked",
        "_whole",
        "_with_body",
        "tail",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, heads: ResponseMemory) -> None:
        super().__init__(loop)
        self._heads = heads
        self._with_body = True
        self._was_chunked = False
        self._parser = self._new_parser()
        #: Bytes that followed a 101, for the tunnel.
        self.tail = b""
        self._head: ResponseHead | None = None
        self._payload: StreamReader = EMPTY_PAYLOAD
        #: The whole body, when it came with a head that was known; ``_payload`` has nothing then.
        self._whole: bytes | None = None
        self._tunnel: Any = None
        self._waiter: asyncio.Future[None] | None = None
        self._error: PixiuError | None = None
        self._bytes_seen = False
        self._finished = True
        #: The parser is known to be between two chunks of the body.
        self._aligned = False
        #: The parser has put something aside, or means to do so with the next piece of a body.
        self._parser_paused = False
        self._idle_timeout = 0.0
        self._deadline = Deadline(loop, self._deadline_passed)

    def _expect(self, with_body: bool) -> None:
        """A request is about to be sent; ``with_body`` is False when its response cannot have one."""
        if with_body is not self._with_body or self._was_chunked:
            # aiohttp's parser adds the last trailer field of a chunked message to the fields of the next one.
            self._with_body = with_body
            self._was_chunked = False
            self._parser = self._new_parser()
        self._head = self._whole = None
        self._payload = EMPTY_PAYLOAD
        self._error = None
        self._bytes_seen = self._finished = self._aligned = False

    # --- for the one who sends requests ------------------------------------------------------------------------------

    def _arrived(self) -> None:
        """Something of the response has come."""
        raise NotImplementedError

    def _lost(self) -> None:
        """The connection has closed, and what was under way has been told."""
        raise NotImplementedError

    def _deadline_passed(self, phase: str) -> None:
        """A time limit has run out."""
        raise NotImplementedError

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
        if not self._bytes_seen and self._with_body and self._recognised(data):
            self._arrived()
            return
        first = not self._bytes_seen
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
        if self._aligned:
            self._aligned = whole_chunks(data)
        for message, payload in messages:
            self._head_received(message, payload)
            if first and len(messages) == 1:
                self._look_at_first(data)
        if self._head is not None:
            self._deadline.extend(self._idle_timeout)
        self._arrived()

    def pause_reading(self) -> None:
        """Called by aiohttp: too many bytes, or too many chunks, have come that nobody has taken."""
        self._parser_paused = True
        super().pause_reading()

    def _resume_parser(self) -> None:
        self._parser_paused = False
        self.resume_reading()

    def _head_received(self, message: RawResponseMessage, payload: StreamReader) -> None:
        if message.code < 200 and message.code != 101:
            if message.code < 100:  # no status at all, and no answer would follow
                self.fail(UpstreamProtocolError("a response without a status"))
            return  # interim: it concerns this hop, or tells nothing a client waits for
        if self._head is not None:
            self.fail(UpstreamProtocolError("two responses to one request"))
            return
        codings = message.headers.getall("Transfer-Encoding", ())
        if codings and has_other(codings):
            self.fail(UpstreamProtocolError("the response has a transfer coding that is not known here"))
            return
        self._head = ResponseHead(message)
        self._was_chunked = message.chunked
        self._payload = payload

    def _recognised(self, data: bytes) -> bool:
        """Take a whole response whose head is known."""
        found = self._heads.find(data)
        if found is None:
            return False
        self._bytes_seen = True
        self._head, self._whole = found
        return True

    def _look_at_first(self, data: bytes) -> None:
        """These bytes began a response, and no other: what can be known of those that follow?"""
        head = self._head
        if head is None or not self._with_body:
            return
        if head.chunked:
            size = head_size(data)
            self._aligned = size > 0 and whole_chunks(data, size)
        else:
            self._heads.parsed(data, head, self._payload)

    def eof_received(self) -> None:
        """The endpoint has closed its side; the transport closes, and ``connection_lost`` follows."""

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection is gone: end what was under way, in the way that fits."""
        parser = self._parser
        super().connection_lost(exc)
        self._deadline.close()
        if not self._finished:
            if self._head is not None and self._payload.is_eof():
                self._wake()  # the response had come whole
            elif exc is None and self._head is not None and self._error is None:
                self._end_of_input(parser)
            else:
                self._fail(UpstreamReset(bytes_seen=self._bytes_seen))
        if self._tunnel is not None:
            self._tunnel(b"")
        self._lost()

    def _end_of_input(self, parser: Any) -> None:
        """A clean close: the end of a body that has no other end, a truncation otherwise."""
        try:
            parser.feed_eof()
        except Exception:  # noqa: BLE001 - aiohttp's several "not enough data" errors
            self._arrived()
            self._fail(UpstreamReset("upstream closed in the middle of the body", bytes_seen=True))
            return
        self._arrived()
        self._wake()

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

    # --- ending ------------------------------------------------------------------------------------------------------

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        if not self._finished:
            self._fail(UpstreamReset("the connection was given up", bytes_seen=self._bytes_seen))
        if self.transport is not None:
            self.transport.abort()

    def fail(self, error: PixiuError) -> None:
        """End what is under way with ``error``."""
        self._fail(error)
        self.abort()

    def _fail(self, error: PixiuError) -> None:
        if self._error is None:
            self._error = error
        self._deadline.clear()
        self._wake()

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
