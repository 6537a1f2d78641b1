"""The client's side of a response: one transport write for the head with its first bytes, one for each chunk after.

``ResponseWriter`` is the ``Sink`` at the end of every body. What concerns the connection is decided here and nowhere else:
framing (RFC 9112 §6), keep-alive, which bodies are never sent (HEAD, 204, 304). The other lines of the head come from
``head_lines.py``.

It stands in for aiohttp's ``StreamResponse``, whose head costs several times as much.
"""

from __future__ import annotations

import asyncio
import struct
from socket import SO_LINGER, SOL_SOCKET
from time import monotonic, time
from typing import TYPE_CHECKING

import structlog

from pixiu_py.errors import ClientGone, GatewayError
from pixiu_py.filters.chain import NOT_OURS
from pixiu_py.http.head_lines import date_line, relayed, status_line
from pixiu_py.http.headers import encode
from pixiu_py.http.passage import Passage

if TYPE_CHECKING:
    from aiohttp.base_protocol import BaseProtocol

    from pixiu_py.filters.chain import FilterChain
    from pixiu_py.http.exchange import Exchange, Response

log = structlog.get_logger("pixiu_py.http")

_BODILESS = frozenset((204, 304))
#: For SO_LINGER: closing resets the connection (on, for no time).
_RESET = struct.pack("ii", 1, 0)


class FilterFault(GatewayError):
    """A filter raised while the body was on its way."""

    kind = "filter_fault"


class ResponseWriter:
    """Writes one response to one client."""

    __slots__ = (
        "_bodiless",
        "_chain",
        "_chunked",
        "_drain_timeout",
        "_exchange",
        "_head",
        "_left",
        "_protocol",
        "finished",
        "keep_alive",
        "started",
    )

    def __init__(self, protocol: BaseProtocol, exchange: Exchange, drain_timeout: float, keep_alive: bool) -> None:
        self._protocol = protocol
        self._exchange = exchange
        self._drain_timeout = drain_timeout
        self._chain: FilterChain | None = None
        self._head = b""
        self._chunked = False
        self._bodiless = False
        #: Body bytes still owed under Content-Length; None when chunked or ended by closing.
        self._left: int | None = None
        #: Whether the connection may serve another request after this response.
        self.keep_alive = keep_alive
        #: True once any byte has gone to the client: nothing can be taken back.
        self.started = False
        self.finished = False

    async def send(self, response: Response, chain: FilterChain) -> None:
        """Send the whole response. Raises ``ClientGone``, or the ``UpstreamError`` of a body that broke off."""
        exchange = self._exchange
        body = response.body
        rewriting = False
        if chain.sees_bodies:
            rewriting = chain.rewrites(exchange)
            self._chain = chain if chain.watches(exchange) else None
        if isinstance(body, bytes):
            if self._chain is not None:
                body = self._filtered_end(body)
                self._chain = None
            self._prepare(response, len(body))
            self.finish(body)
            return
        self._prepare(response, None if rewriting else body.length)
        if self._bodiless:
            body.abort()
            self.finish()
        else:
            await body.pipe(self)

    def send_instead(self, response: Response) -> None:
        """Send this response, of plain bytes, in place of one that failed before its first byte. Raises ``ClientGone``."""
        body = response.body
        assert isinstance(body, bytes)  # noqa: S101 - a local reply
        self._chain = self._left = None
        self._chunked = self.keep_alive = False
        self._prepare(response, len(body))
        self.finish(body)

    # --- head ------------------------------------------------------------------------------------------------------

    def _prepare(self, response: Response, length: int | None) -> None:
        exchange = self._exchange
        request = exchange.request
        status = exchange.status = response.status
        self._bodiless = request.method == "HEAD" or status in _BODILESS
        fields = relayed(response.headers)
        lines = [status_line(status, response.reason), fields.block]
        if not fields.dated:
            lines.append(date_line(int(time())))
        if not fields.identified and exchange.request_id:
            lines.append(b"x-request-id: %b\r\n" % exchange.request_id.encode("ascii"))
        if status == 101:
            self.keep_alive = False  # what follows is no HTTP
            lines.append(b"Connection: Upgrade\r\nUpgrade: %b\r\n" % encode(request.upgrade))
        else:
            http11 = request.version >= (1, 1)
            lines.append(self._framing(status, length, http11))
            if not self.keep_alive:
                lines.append(b"Connection: close\r\n")
            elif not http11:
                lines.append(b"Connection: keep-alive\r\n")
        lines.append(b"\r\n")
        self._head = b"".join(lines)

    def _framing(self, status: int, length: int | None, http11: bool) -> bytes:
        if self._bodiless:
            # A HEAD or 304 may state the length of the body it does not have (RFC 9110 §8.6); a 204 must not.
            return b"Content-Length: %d\r\n" % length if length and status != 204 else b""
        if length is not None:
            self._left = length
            return b"Content-Length: %d\r\n" % length
        if http11:
            self._chunked = True
            return b"Transfer-Encoding: chunked\r\n"
        self.keep_alive = False
        return b""

    # --- body: the Sink --------------------------------------------------------------------------------------------

    def flush_head(self) -> None:
        """See ``Sink.flush_head``."""
        if self._head:
            head, self._head = self._head, b""
            self._write(head)

    def write(self, chunk: bytes) -> bool:
        """See ``Sink.write``."""
        if self._chain is not None:
            chunk = self._filtered(chunk)
        if not chunk:
            return True  # an empty chunk would be the last one
        size = len(chunk)
        if self._chunked:
            data = b"%b%x\r\n%b\r\n" % (self._head, size, chunk)
        else:
            self._count(size)
            data = self._head + chunk if self._head else chunk
        self._head = b""
        self._exchange.bytes_sent += size
        self._write(data)
        return not self._protocol._paused

    def write_framed(self, framed: bytes, chunk: bytes) -> bool:
        """See ``FramedSink.write_framed``."""
        if not self._chunked or self._chain is not None or self._head:
            return self.write(chunk)
        protocol = self._protocol
        transport = protocol.transport
        if transport is None or transport.is_closing():
            raise ClientGone("the client closed its connection")
        self._exchange.bytes_sent += len(chunk)
        transport.write(framed)
        return not protocol._paused

    def passage(self) -> Passage | None:
        """See ``FramedSink.passage``."""
        transport = self._protocol.transport
        if not self._chunked or self._chain is not None or self._head or transport is None:
            return None
        return Passage(self._protocol, transport, self._exchange)

    def finish(self, chunk: bytes = b"") -> None:
        """See ``Sink.finish``."""
        if self._chain is not None:
            chunk = self._filtered_end(chunk)
        size = len(chunk)
        if self._bodiless:
            data = self._head
            size = 0
        elif self._chunked:
            last = b"%x\r\n%b\r\n0\r\n\r\n" % (size, chunk) if size else b"0\r\n\r\n"
            data = self._head + last
        else:
            if self._left == size:
                self._left = 0
            else:
                self._count(size)
                if self._left:
                    raise GatewayError("the response body is shorter than its Content-Length")
            data = self._head + chunk if self._head else chunk
        self._head = b""
        self._exchange.bytes_sent += size
        if data:
            self._write(data)
        self.finished = True

    async def drain(self) -> None:
        """See ``Sink.drain``. A client that reads nothing for longer than the listener's write_timeout is given up."""
        transport = self._protocol.transport
        while transport is not None:
            before = transport.get_write_buffer_size()
            try:
                async with asyncio.timeout(self._drain_timeout or None):
                    await self._protocol._drain_helper()
                return
            except TimeoutError:
                if transport.get_write_buffer_size() < before:  # slow, but it does read
                    self._protocol._drain_waiter = None  # aiohttp would wait for it again, and it has been cancelled
                    continue
                transport.abort()  # a regular close would wait for ever until all is sent
                raise ClientGone("the client stopped reading") from None
            except ConnectionError:
                break
        raise ClientGone("the client closed its connection")

    def abort(self) -> None:
        """End the connection so that the client cannot take what it has for the whole."""
        self.keep_alive = False
        transport = self._protocol.transport
        if transport is None:
            return
        if self._chunked or self._left:
            transport.close()  # the missing end of the framing tells; what was written still goes out
            return
        sock = transport.get_extra_info("socket")
        if sock is not None and self.started:
            sock.setsockopt(SOL_SOCKET, SO_LINGER, _RESET)  # the body would end with the connection: only a reset tells
        transport.abort()

    def _count(self, size: int) -> None:
        if self._left is None:
            return
        if size > self._left:
            raise GatewayError("the response body is longer than its Content-Length")
        self._left -= size

    def _filtered(self, chunk: bytes) -> bytes:
        try:
            return self._chain.encode_chunk(self._exchange, chunk)  # type: ignore[union-attr]
        except NOT_OURS:
            raise
        except BaseException as error:
            log.exception("filter failed in encode_chunk", request_id=self._exchange.request_id)
            raise FilterFault("a filter failed while the response was being sent") from error

    def _filtered_end(self, chunk: bytes) -> bytes:
        if chunk:
            chunk = self._filtered(chunk)
        try:
            return chunk + self._chain.encode_end(self._exchange)  # type: ignore[union-attr]
        except NOT_OURS:
            raise
        except BaseException as error:
            log.exception("filter failed in encode_end", request_id=self._exchange.request_id)
            raise FilterFault("a filter failed while the response was being sent") from error

    def _write(self, data: bytes) -> None:
        transport = self._protocol.transport
        if transport is None or transport.is_closing():
            raise ClientGone("the client closed its connection")
        if not self.started:
            self.started = True
            self._exchange.first_byte = monotonic()
        transport.write(data)
