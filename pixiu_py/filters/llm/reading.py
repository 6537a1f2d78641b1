"""Reading along with an answer, to find its token counts and the times of its tokens. Nothing here touches the bytes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import orjson

from pixiu_py.filters.llm.usage import UsageCollector
from pixiu_py.http.inflate import Inflater, UnreadableError
from pixiu_py.http.sse import Event, SseParser

if TYPE_CHECKING:
    from pixiu_py.http.headers import Headers

#: Events that bring no token.
_WITHOUT_TOKEN = frozenset(
    (
        "error",
        "message_start",
        "content_block_start",
        "ping",
        "response.created",
        "response.queued",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    )
)
#: An event worth parsing. Inside of generated text the quotes would be escaped; most events say ``"usage":null``.
_HAS_USAGE = re.compile(rb'"usage"\s*:\s*\{').search


class DocumentReading:
    """A JSON answer: kept until its end, up to ``limit`` bytes."""

    __slots__ = ("_left", "_parts", "collector")

    def __init__(self, limit: int) -> None:
        self.collector = UsageCollector()
        self._parts: list[bytes] = []
        self._left = limit

    def feed(self, data: bytes, now: float) -> None:
        """Take the next bytes. Raises ``UnreadableError``."""
        self._left -= len(data)
        if self._left < 0:
            self._parts.clear()
            raise UnreadableError("too_large")
        self._parts.append(data)

    def close(self, now: float) -> None:
        """There are no more bytes. Raises ``UnreadableError``."""
        document = b"".join(self._parts)
        self._parts.clear()
        try:
            self.collector.add(orjson.loads(document))
        except orjson.JSONDecodeError:
            raise UnreadableError("malformed") from None


class EventReading:
    """An event stream: read as it comes; nothing is kept but counts and times."""

    __slots__ = ("_oversized", "_parser", "collector", "first_token", "last_token")

    def __init__(self, max_event: int) -> None:
        self.collector = UsageCollector()
        self._parser = SseParser(max_event)
        self._oversized = False
        #: Times of the first and the last token by the loop's clock; 0: none yet.
        self.first_token = 0.0
        self.last_token = 0.0

    def feed(self, data: bytes, now: float) -> None:
        """Take the next bytes, which came at ``now``."""
        for event in self._parser.feed(data):
            self._take(event, now)

    def close(self, now: float) -> None:
        """There are no more bytes. Raises ``UnreadableError``."""
        for event in self._parser.close():
            self._take(event, now)
        if self._oversized and self.collector.usage is None:
            raise UnreadableError("too_large")

    def _take(self, event: Event, now: float) -> None:
        self._oversized = self._oversized or event.oversized
        data = event.data
        if not data or data == b"[DONE]":
            return
        if event.name not in _WITHOUT_TOKEN and not data.startswith(b'{"error"'):
            self.first_token = self.first_token or now
            self.last_token = now
        if _HAS_USAGE(data):
            try:
                self.collector.add(orjson.loads(data))
            except orjson.JSONDecodeError:
                return  # one broken event says nothing about the next


class Watch:
    """One answer being read. It never raises: what cannot be read ends the reading and leaves its reason."""

    __slots__ = ("_inflater", "complete", "problem", "reading")

    def __init__(self, reading: DocumentReading | EventReading, encoding: str, max_decoded: int) -> None:
        self.reading = reading
        self._inflater: Inflater | None = None
        #: Why the answer could not be read: ``encoding``, ``too_large``, ``malformed``; empty while it can.
        self.problem = ""
        #: True once the whole body has been seen.
        self.complete = False
        if encoding:
            try:
                self._inflater = Inflater(encoding, max_decoded)
            except UnreadableError as error:
                self.problem = error.reason

    def feed(self, data: bytes, now: float) -> None:
        """The next bytes of the body, which came at ``now``."""
        if self.problem:
            return
        try:
            self.reading.feed(data if self._inflater is None else self._inflater.feed(data), now)
        except UnreadableError as error:
            self.problem = error.reason

    def close(self, now: float) -> None:
        """The body is over. To be called once."""
        self.complete = True
        if self.problem:
            return
        try:
            self.reading.close(now)
        except UnreadableError as error:
            self.problem = error.reason


def watch(headers: Headers, max_document: int, max_event: int, max_decoded: int) -> Watch | None:
    """A watch over an answer with these header fields; None when it can hold no usage."""
    media_type = (headers.get("content-type") or "").partition(";")[0].strip().lower()
    reading: DocumentReading | EventReading
    if media_type == "text/event-stream":
        reading = EventReading(max_event)
    elif media_type == "application/json":
        reading = DocumentReading(max_document)
    else:
        return None
    return Watch(reading, headers.get("content-encoding") or "", max_decoded)
