"""An endpoint's answer on its way to the client: watched for its end, and honest when it breaks.

Of an event stream only whole events are sent on. So when it breaks, the client is in between two events, and the error
event that ends it is well-formed. Any other body that breaks ends with an aborted connection (``http/writer.py``).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from pixiu_py.errors import StreamTruncated, UpstreamError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pixiu_py.filters.llm.dialect import Dialect
    from pixiu_py.http.body import Body, Sink
    from pixiu_py.http.exchange import Exchange
    from pixiu_py.http.passage import Passage

#: What an event ends with: an empty line, in each of the ways in which lines may end (CRLF CRLF ends with the second).
_ENDS = (b"\n\n", b"\n\r\n", b"\r\r")
#: How many of the last pieces are looked at to tell whether a stream was complete. A passage keeps fewer: the event with the
#: finish reason, one with the usage, and one that says that all is done.
_TAIL = 8


class EventStreamSink:
    """Passes whole events on to the client's sink, and remembers the last ones."""

    __slots__ = ("_limit", "_next_framed", "_next_passage", "_passage", "_rest", "_sink", "_tail")

    def __init__(self, sink: Sink, limit: int) -> None:
        self._sink = sink
        #: An event longer than this is sent on in pieces.
        self._limit = limit
        self._rest = b""
        #: What was sent last, but for what has gone through the latest passage.
        self._tail: deque[bytes] = deque(maxlen=_TAIL)
        self._passage: Passage | None = None
        self._next_framed: Callable[[bytes, bytes], bool] | None = getattr(sink, "write_framed", None)
        self._next_passage: Callable[[], Passage | None] | None = getattr(sink, "passage", None)

    def write_framed(self, framed: bytes, chunk: bytes) -> bool:
        """See ``FramedSink.write_framed``."""
        if self._rest or self._next_framed is None or not chunk.endswith(_ENDS):
            return self.write(chunk)
        self._latest().append(chunk)
        return self._next_framed(framed, chunk)

    def passage(self) -> Passage | None:
        """See ``FramedSink.passage``: for chunks that end as the last one did, while nothing is held."""
        if self._rest or self._next_passage is None or not self._tail:
            return None
        passage = self._next_passage()
        if passage is not None:
            last = self._latest()[-1]
            passage.only(next((end for end in _ENDS if last.endswith(end)), _ENDS[0]))
            self._passage = passage
        return passage

    def write(self, chunk: bytes) -> bool:
        """See ``Sink.write``."""
        if self._rest:
            chunk = self._rest + chunk
            self._rest = b""
        if not chunk.endswith(_ENDS):
            chunk = self._whole_events(chunk)
            if not chunk:
                return True
        self._latest().append(chunk)
        return self._sink.write(chunk)

    def _latest(self) -> deque[bytes]:
        """What was sent last."""
        if self._passage is not None:
            self._tail.extend(self._passage.latest())
            self._passage = None
        return self._tail

    def _whole_events(self, chunk: bytes) -> bytes:
        end = _end_of_events(chunk)
        if len(chunk) - end > self._limit:
            return chunk
        self._rest = chunk[end:]
        return chunk[:end]

    async def drain(self) -> None:
        """See ``Sink.drain``."""
        await self._sink.drain()

    def flush_head(self) -> None:
        """See ``Sink.flush_head``."""
        self._sink.flush_head()

    def finish(self, chunk: bytes = b"") -> None:
        """Everything has come; ``settle`` finishes the client's side, once it is known how."""
        self._rest += chunk

    @property
    def torn(self) -> bool:
        """True when a piece of a very long event was the last to be sent: whatever follows would be taken for its rest."""
        latest = self._latest()
        return bool(latest) and not latest[-1].endswith(_ENDS)

    @property
    def last_events(self) -> bytes:
        """The last events, what is held included."""
        return b"".join(self._latest()) + self._rest

    def whole_rest(self) -> bytes:
        """What came with the end of the response, as far as it is whole events."""
        return self._rest[: _end_of_events(self._rest)]

    def take_rest(self) -> bytes:
        """What is held of an unfinished event."""
        rest, self._rest = self._rest, b""
        return rest


def _end_of_events(data: bytes) -> int:
    """Where the last whole event ends; 0 if there is none."""
    return max(at + len(mark) if (at := data.rfind(mark)) >= 0 else 0 for mark in _ENDS)


class EventStreamBody:
    """The body of an event stream that is watched for its end."""

    length: int | None = None  # it may get one event more than the endpoint sends

    __slots__ = ("_body", "_dialect", "_event_limit", "_exchange")

    def __init__(self, body: Body, dialect: Dialect, exchange: Exchange, event_limit: int) -> None:
        self._body = body
        #: The client's API.
        self._dialect = dialect
        self._exchange = exchange
        self._event_limit = event_limit

    async def pipe(self, sink: Sink) -> None:
        """See ``Body.pipe``. A stream that breaks between two events is finished with an error event."""
        dialect = self._dialect
        events = EventStreamSink(sink, self._event_limit)
        try:
            await self._body.pipe(events)
            if not dialect.complete(events.last_events):
                raise StreamTruncated("upstream ended the stream before it was complete")
        except UpstreamError as error:
            if not dialect.ended(events.last_events):
                if events.torn:
                    raise
                self._exchange.error = error
                self._exchange.end_reason = error.kind
                sink.finish(events.whole_rest() + dialect.error_event(error.detail, error.kind))
                return
        sink.finish(events.take_rest())

    def abort(self) -> None:
        """See ``Body.abort``."""
        self._body.abort()
