"""One client connection: aiohttp's parser, with a request loop of our own.

Parsing, pipelining, the keep-alive timer and flow control stay aiohttp's. The loop replaces ``RequestHandler.start``, which
makes a task, a stream writer and a response object for every request. With it come JSON errors for malformed requests, and
the ends of an upgraded connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import structlog
from aiohttp import web
from aiohttp.http import HttpRequestParser
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from pixiu_py.http.local_reply import local_reply
from pixiu_py.http.request_fault import fault
from pixiu_py.http.request_head import RequestHead
from pixiu_py.http.tunnel import Tunnel
from pixiu_py.http.upload import Upload

if TYPE_CHECKING:
    from aiohttp.streams import StreamReader

    from pixiu_py.http.known_head import HeadMemory
    from pixiu_py.http.server import DownstreamServer

log = structlog.get_logger("pixiu_py.http")

#: The largest single header field or request line; the sum of all fields is held to max_header_bytes as well.
MAX_FIELD = 65536
#: What aiohttp says when there are more header fields than it may take.
TOO_MANY_FIELDS = "Too many headers received"


class RawRequest:
    """The head of a request, its body as it comes or all at once, and the connection it came over."""

    __slots__ = ("content", "head", "payload", "protocol")

    def __init__(
        self,
        head: RequestHead,
        payload: StreamReader,
        protocol: DownstreamConnection,
        content: bytes | None = None,
    ) -> None:
        self.head = head
        self.payload = payload
        self.protocol = protocol
        #: The whole body, when it came with a head that was known; ``payload`` has nothing then.
        self.content = content

    def _cancel(self, exc: BaseException) -> None:
        """Called by aiohttp when the client has gone: a handler that reads the body must hear of it."""
        self.payload.set_exception(exc)


#: Handles one request, response included; tells whether the connection may serve another.
Handler = Callable[[RawRequest], Awaitable[bool]]


class DownstreamConnection(RequestHandler):
    """One client connection."""

    __slots__ = ("_handler", "_heads", "_latest", "_tunnel", "client_address", "scheme")

    _manager: DownstreamServer | None

    def __init__(self, manager: DownstreamServer, handler: Handler, heads: HeadMemory, **kwargs: Any) -> None:
        super().__init__(manager, **kwargs)
        self._handler = handler
        self._heads = heads
        self._tunnel: Tunnel | None = None
        #: The last bytes that were parsed.
        self._latest = b""
        #: What the client spoke: ``http`` or ``https``.
        self.scheme = "http"
        #: Address of the peer, without port; empty for a Unix socket.
        self.client_address = ""

    @property
    def idle(self) -> bool:
        """True when no request is being handled or waits to be."""
        waiter = self._waiter
        return self._current_request is None and not self._messages and (waiter is None or not waiter.done())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, unless there are too many."""
        manager = self._manager
        if manager is not None and manager.full:
            manager.tell_full()
            self._manager = None
            transport.abort()  # type: ignore[attr-defined]
            return
        if transport.get_extra_info("sslcontext") is not None:
            self.scheme = "https"
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self.client_address = peer[0]
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Take a request whose head is known as it is, let aiohttp parse anything else."""
        waiter = self._waiter
        if waiter is not None and not waiter.done() and not self._messages and not (self._force_close or self._close):
            found = self._heads.find(data)
            if found is not None:
                waiter.set_result(RawRequest(found[0], EMPTY_PAYLOAD, self, found[1]))  # type: ignore[arg-type]
                return
        count = self._request_count
        self._latest = data[-4:] if len(data) >= 4 else (self._latest + data)[-4:]
        super().data_received(data)
        message, payload = self._messages[-1] if self._messages else (None, EMPTY_PAYLOAD)
        if isinstance(message, _ErrInfo):
            self._body_broke()  # aiohttp tells nobody who reads that body: they would wait for the rest
        elif message is not None and self._request_count == count + 1:
            self._heads.parsed(data, message, payload)
        else:
            self._heads.continued(data, self._request_count - count)

    def _body_broke(self) -> None:
        """The body of the last request, if it has not ended, never will."""
        payloads = [payload for message, payload in self._messages if not isinstance(message, _ErrInfo)]
        if not payloads and self._current_request is not None:
            payloads = [self._current_request.payload]  # type: ignore[attr-defined]
        if payloads and not payloads[-1].is_eof() and payloads[-1].exception() is None:
            payloads[-1].set_exception(BadHttpMessage("broken framing"))

    async def start(self) -> None:
        """Serve one request after the other, until the connection is to be closed. aiohttp runs this as a task."""
        try:
            while not self._force_close and await self._serve_next():
                self._restart_keep_alive()
        except asyncio.CancelledError:
            self.force_close()
            raise
        except Exception:
            log.exception("handler failed")
            self.force_close()
        if not self._force_close:
            self._task_handler = None
            if self.transport is not None:
                self.transport.close()

    async def _serve_next(self) -> bool:
        request: RawRequest | None = None
        if not self._messages:
            self._waiter = self._loop.create_future()
            try:
                request = await self._waiter  # type: ignore[func-returns-value]  # a known one; None: it has been parsed
            finally:
                self._waiter = None
        if request is None:
            request = self._next_parsed()
            if request is None:
                return False
        self._current_request = request  # type: ignore[assignment]
        try:
            keep = await self._handler(request)
        finally:
            self._current_request = None
        if not request.payload.is_eof():
            keep = await self._linger(request.payload) and keep
        if keep and request.head.length is None:
            keep = self._end_chunked()
        elif keep and self._payload_parser is not None:
            self._end_upload()
        return keep and not self._close

    @property
    def has_unparsed(self) -> bool:
        """True when the parser has put bytes aside, because too many that it had made were waiting."""
        return self._reading_paused

    def _end_chunked(self) -> bool:
        """After a chunked body: aiohttp's parser would add its last trailer field to the fields of the next request.

        False when the next one has begun already: the connection ends, and the client asks again on another.
        """
        if self._messages or self._latest != b"\r\n\r\n":
            return False
        self._renew_parser()
        return True

    def _end_upload(self) -> None:
        """After a body that went past the parser, which waits for it still."""
        upload = self._payload_parser
        if not isinstance(upload, Upload):
            return
        self._payload_parser = None
        self._renew_parser()
        self._resume_transport_reading()
        if upload.tail:
            self.data_received(upload.tail)

    def _renew_parser(self) -> None:
        """A parser that has seen nothing."""
        self._parser = HttpRequestParser(
            self,
            self._loop,
            self._read_bufsize,
            max_line_size=self.max_line_size,
            max_field_size=self.max_field_size,
            max_headers=self.max_headers,
            payload_exception=web.RequestPayloadError,
            auto_decompress=False,
            max_msg_queue_size=self._max_msg_queue_size,
        )
        self._heads.parser_renewed()

    def _next_parsed(self) -> RawRequest | None:
        """The next request from aiohttp's parser; None when it has been refused."""
        message, payload = self._messages.popleft()
        if self._parser is not None:
            self._parser.message_consumed()
        if self._buffer_paused and len(self._messages) <= self._msg_queue_resume_size:
            self._resume_reading_if_drained()
        if isinstance(message, _ErrInfo):
            error = message.exc
            self._refuse(431 if isinstance(error, LineTooLong) else message.status, type(error).__name__, _why(error))
            return None
        refused = fault(message)
        if refused is not None:
            self._refuse(refused.status, "Fault", refused.why)
            return None
        return RawRequest(RequestHead(message), payload, self)

    def _restart_keep_alive(self) -> None:
        closes = self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if self._keepalive_handle is None and self._keepalive_timeout > 0:
            self._keepalive_handle = self._loop.call_at(closes, self._process_keepalive)

    async def _linger(self, payload: StreamReader) -> bool:
        """Read what the client is still sending, so that it sees the answer and no reset (RFC 9112 §9.6). True at its end."""
        if self.transport is None or self.transport.is_closing():
            return False
        try:
            async with asyncio.timeout(self._lingering_time):
                while not payload.is_eof():
                    await payload.readany()
        except asyncio.CancelledError:
            raise
        except Exception:  # noqa: BLE001 - too slow, malformed or gone: the connection ends either way
            return False
        return True

    def _refuse(self, status: int, error: str, why: str) -> None:
        """Answer a request that could not be parsed, or should not have been."""
        log.info("malformed request", peer=str(self.peername), error=error, why=why)
        if self.transport is not None:
            self.transport.write(_refusal(status, why))

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


def _why(error: BaseException) -> str:
    """What is wrong with a request, as far as it can be told without a byte of it."""
    if isinstance(error, LineTooLong):
        return "a header field or the request line is too long"
    if isinstance(error, BadHttpMessage) and error.message == TOO_MANY_FIELDS:
        return "too many header fields"
    return "malformed HTTP request"


def _refusal(status: int, why: str) -> bytes:
    """A whole response for a request that never became an exchange."""
    response = local_reply(status, "" if status == 500 else why)
    body = response.body if isinstance(response.body, bytes) else b""
    head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: application/json\r\n"
    return b"%bContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (head.encode("ascii"), len(body), body)
