"""Bodies: the contract between what produces bytes (endpoint, filter) and what takes them (the client's connection).

A response body is *piped*: the producer writes into a sink as bytes come, and waits only when the sink is full. That lets
an endpoint's connection hand each chunk straight to the client's transport, with no task woken in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Protocol

from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from pixiu_py.errors import BodyTimeout, BodyTooLarge, DownstreamError

if TYPE_CHECKING:
    from pixiu_py.http.passage import Passage


class Sink(Protocol):
    """Takes the bytes of a response body."""

    def write(self, chunk: bytes) -> bool:
        """Take a chunk. False: the sink is full, ``drain()`` before the next one."""

    async def drain(self) -> None:
        """Wait until there is room. Raises ``ClientGone``."""

    def flush_head(self) -> None:
        """Send the response head now if it has not been sent: the body will take its time."""

    def finish(self, chunk: bytes = b"") -> None:
        """The body is complete with this last chunk."""


class FramedSink(Sink, Protocol):
    """A sink that can pass a chunk on in the framing (RFC 9112 section 7.1) in which it came, which saves making it anew."""

    def write_framed(self, framed: bytes, chunk: bytes) -> bool:
        """``write(chunk)``, when ``framed`` is that chunk with its size line and its line end."""

    def passage(self) -> Passage | None:
        """The way past this sink for chunks that it would only pass on; None: there is none now, or never.

        It holds until the sink is given something else.
        """


class Body(Protocol):
    """A response body that is produced while it is sent."""

    #: Bytes to come, or None when that is not known beforehand.
    length: int | None

    async def pipe(self, sink: Sink) -> None:
        """Write everything into ``sink`` and finish it.

        Raises ``UpstreamError`` when the body breaks off; the sink is then left unfinished. Cancelling stops the producer.
        """

    def abort(self) -> None:
        """Let go of what is left, without sending it. Does nothing after the end."""


class GeneratorBody:
    """A body made by an async generator, for filters that answer themselves."""

    length: int | None = None

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks

    async def pipe(self, sink: Sink) -> None:
        """Send each chunk at once."""
        sink.flush_head()
        async for chunk in self._chunks:
            if not sink.write(chunk):
                await sink.drain()
        sink.finish()

    def abort(self) -> None:
        """Nothing to let go of: the generator has not been started, or was cancelled."""


def take_buffered(payload: StreamReader) -> bytes:
    """Everything that has come, straight from a payload's buffer.

    ``StreamReader.read_nowait`` resumes the parser in the middle of taking. Called from within ``data_received`` that
    would hand out bytes in the wrong order, and everywhere else it costs a parse of nothing.
    """
    if payload is EMPTY_PAYLOAD:
        return b""
    buffer = payload._buffer
    if not buffer:
        return b""
    if len(buffer) == 1:
        data = buffer.popleft()
    else:
        data = b"".join(buffer)
        buffer.clear()
    payload._size = 0
    if payload._http_chunk_splits:
        payload._http_chunk_splits.clear()
    return data


class RequestBody:
    """The body of a client's request: read whole, up to a limit, or streamed. One of the two, once.

    ``content`` is the whole body when it is here already; ``source`` has nothing then.
    """

    __slots__ = ("_content", "idle_timeout", "length", "received", "send_continue", "source")

    def __init__(
        self,
        source: StreamReader,
        length: int | None,
        idle_timeout: float = 20.0,
        send_continue: Callable[[], None] | None = None,
        content: bytes | None = None,
    ) -> None:
        #: What comes, as aiohttp's parser has made it.
        self.source = source
        self._content = content
        #: Longest silence of the client, seconds; 0: no limit.
        self.idle_timeout = idle_timeout
        #: Writes the interim response that a client with ``Expect: 100-continue`` is waiting for. Called when the body is
        #: first wanted, so that a request refused by its head alone never sends one. None: nobody waits, or no longer.
        self.send_continue = send_continue
        #: Declared bytes, or those of what took its place; None for a chunked body.
        self.length = length
        #: Bytes taken from the client so far.
        self.received = 0 if content is None else len(content)

    @property
    def exists(self) -> bool:
        """False when the request has no body at all."""
        return self.length != 0

    async def read(self, limit: int) -> bytes:
        """The whole body; read once, then remembered. Raises ``BodyTooLarge`` above ``limit`` bytes, ``BodyTimeout``."""
        content = self._content
        if content is None:
            if self.length is not None and self.length > limit:
                raise BodyTooLarge(f"request body of {self.length} bytes is above the limit of {limit}")
            source = self.source
            if source.is_eof() and not self.received:  # the common case: the body came together with the head
                content = take_buffered(source)
                self.received = len(content)
            else:
                content = await self._collect(limit)
            self._content = content
        if len(content) > limit:
            raise BodyTooLarge(f"request body is above the limit of {limit} bytes")
        return content

    def replace(self, content: bytes) -> None:
        """Put ``content`` in place of a body that has been read. ``received`` still counts what the client has sent."""
        self._content = content
        self.length = len(content)

    def peek(self) -> bytes | None:
        """The whole body if it has been read before, else None."""
        return self._content

    async def _collect(self, limit: int) -> bytes:
        parts = []
        async for chunk in self.stream():
            parts.append(chunk)
            if self.received > limit:
                raise BodyTooLarge(f"request body is above the limit of {limit} bytes")
        return b"".join(parts)

    async def stream(self) -> AsyncIterator[bytes]:
        """The body as it comes, with back-pressure to the client. Yields the remembered body after ``read()``.

        Raises ``BodyTooLarge`` after a ``read()`` that raised it, whatever the limit was: what it had taken is gone.
        """
        if self._content is not None:
            if self._content:
                yield self._content
            return
        self.begin_stream()
        while True:
            chunk = await self._next()
            if not chunk:
                return
            self.received += len(chunk)
            yield chunk

    def begin_stream(self) -> None:
        """Before the first piece: tell a client that waits for it to send. Raises ``BodyTooLarge`` when some is gone."""
        if self.received:
            raise BodyTooLarge("part of the request body has been read and is gone")
        if self.send_continue is not None:
            send, self.send_continue = self.send_continue, None
            send()

    async def _next(self) -> bytes:
        source = self.source
        try:
            if source.is_eof() or source.total_bytes > self.received:
                return await source.readany()  # something is there: no timer needed
            async with asyncio.timeout(self.idle_timeout or None):
                return await source.readany()
        except TimeoutError:
            raise BodyTimeout("the client stopped sending its body") from None
        except asyncio.CancelledError:
            raise
        except Exception as error:  # aiohttp's payload errors share no base; this is their one edge
            raise DownstreamError("the request body is malformed or incomplete") from error
