"""The head of an endpoint's response and its body: what an attempt gives, and what a proxy hands to the client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pixiu_py.errors import UpstreamReset
from pixiu_py.http.headers import Headers

if TYPE_CHECKING:
    from pixiu_py.http.body import Sink
    from pixiu_py.upstream.connection import UpstreamConnection
    from pixiu_py.upstream.response_head import ResponseHead


class UpstreamResponse:
    """The head of an endpoint's response, and its body as a ``Body``."""

    __slots__ = ("_connection", "_prefix", "_whole", "headers", "is_event_stream", "length", "reason", "status")

    def __init__(
        self, connection: UpstreamConnection | None, head: ResponseHead, length: int | None, whole: bytes | None = None
    ) -> None:
        #: Where the body comes from, or all of it; neither when it is over.
        self._connection = connection
        self._whole = whole
        #: What was put back.
        self._prefix = b""
        self.status = head.status
        self.reason = head.reason
        fields = head.fields
        self.headers = Headers(fields.raw, fields.index, fields)
        #: An event stream that can be read.
        self.is_event_stream = head.is_event_stream
        #: Declared bytes of the body, or None.
        self.length = length

    @property
    def connection(self) -> UpstreamConnection:
        """The connection it is arriving on. Only valid until the body has ended."""
        if self._connection is None:
            raise UpstreamReset("the response has ended", bytes_seen=True)
        return self._connection

    def take_whole(self) -> bytes | None:
        """The body, when it is here to its end and as long as was declared; else None, and nothing is taken."""
        if self._whole is None or len(self._whole) + len(self._prefix) != self.length:
            return None
        whole, self._whole = self._whole, None
        return self._prefix + whole

    async def pipe(self, sink: Sink) -> None:
        """See ``Body.pipe``."""
        connection, self._connection = self._connection, None
        if connection is None:
            whole, self._whole = self._whole, None
            if whole is None:
                raise UpstreamReset("the response was let go of", bytes_seen=True)
            sink.finish(self._prefix + whole)
            return
        try:
            if self._prefix and not sink.write(self._prefix):
                await sink.drain()
        except BaseException:
            connection.abort()
            raise
        await connection.pipe(sink)

    async def read(self) -> bytes:
        """The next piece of the body, as it comes; empty at the end."""
        if self._prefix:
            prefix, self._prefix = self._prefix, b""
            return prefix
        if self._connection is None:
            whole, self._whole = self._whole, None
            return whole or b""
        chunk = await self._connection.read()
        if not chunk:
            self._connection = None
        return chunk

    @property
    def begun(self) -> bool:
        """True when the body has begun, or ended."""
        return self._connection is None or bool(self._prefix) or self._connection.has_body

    async def ready(self, timeout: float) -> bool:
        """True as soon as the body has begun or ended, False after ``timeout`` seconds of silence.

        Raises ``UpstreamError`` when it broke before it began.
        """
        return self.begun or self._connection is None or await self._connection.ready(timeout)

    def unread(self, data: bytes) -> None:
        """Put back bytes that were only looked at; they come first again."""
        self._prefix = data + self._prefix
        if self._connection is None and self._whole is None:
            self._whole = b""  # it was over, and now it is not

    async def read_all(self, limit: int) -> bytes | None:
        """The whole body, or None when it is above ``limit`` bytes; the rest is then let go of."""
        parts: list[bytes] = []
        size = 0
        while chunk := await self.read():
            parts.append(chunk)
            size += len(chunk)
            if size > limit:
                self.abort()
                return None
        return b"".join(parts)

    def abort(self) -> None:
        """See ``Body.abort``."""
        connection, self._connection = self._connection, None
        self._whole = None
        if connection is not None:
            connection.abandon()
