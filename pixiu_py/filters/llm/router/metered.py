"""Reads along with an answer for its token counts, where a session wants to know them. The bytes stay as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pixiu_py.filters.llm.reading import Watch, watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from pixiu_py.filters.llm.usage import Usage
    from pixiu_py.http.body import Body, Sink
    from pixiu_py.http.exchange import Response

#: Bytes of a document that is kept until its end, of an event, and of what a compressed answer may come to.
MAX_DOCUMENT = 8 * 2**20
MAX_EVENT = 2**20
MAX_DECODED = 64 * 2**20


class Meter:
    """The token counts of one answer, as far as they have come."""

    __slots__ = ("_clock", "_watch")

    def __init__(self, found: Watch, clock: Callable[[], float]) -> None:
        self._watch = found
        self._clock = clock

    def feed(self, data: bytes) -> None:
        """The next bytes."""
        self._watch.feed(data, self._clock())

    def close(self) -> None:
        """There are no more. To be called once."""
        self._watch.close(self._clock())

    @property
    def usage(self) -> Usage | None:
        """The counts; None when the answer has told none."""
        return self._watch.reading.collector.usage


def metered(response: Response, clock: Callable[[], float]) -> Meter | None:
    """Begin to read along with ``response``, whose body is replaced; None when it can hold no counts."""
    found = watch(response.headers, MAX_DOCUMENT, MAX_EVENT, MAX_DECODED)
    if found is None:
        return None
    meter = Meter(found, clock)
    if isinstance(response.body, bytes):
        meter.feed(response.body)
        meter.close()
    else:
        response.body = MeteredBody(response.body, meter)
    return meter


class MeteredBody:
    """A body that is read along with."""

    __slots__ = ("_body", "_meter", "length")

    def __init__(self, body: Body, meter: Meter) -> None:
        self._body = body
        self._meter = meter
        self.length = body.length

    async def pipe(self, sink: Sink) -> None:
        """See ``Body.pipe``."""
        await self._body.pipe(MeteredSink(sink, self._meter))

    def abort(self) -> None:
        """See ``Body.abort``."""
        self._body.abort()


class MeteredSink:
    """Shows every chunk to the meter on its way."""

    __slots__ = ("_meter", "_sink")

    def __init__(self, sink: Sink, meter: Meter) -> None:
        self._sink = sink
        self._meter = meter

    def write(self, chunk: bytes) -> bool:
        """See ``Sink.write``."""
        self._meter.feed(chunk)
        return self._sink.write(chunk)

    async def drain(self) -> None:
        """See ``Sink.drain``."""
        await self._sink.drain()

    def flush_head(self) -> None:
        """See ``Sink.flush_head``."""
        self._sink.flush_head()

    def finish(self, chunk: bytes = b"") -> None:
        """See ``Sink.finish``."""
        if chunk:
            self._meter.feed(chunk)
        self._meter.close()
        self._sink.finish(chunk)
