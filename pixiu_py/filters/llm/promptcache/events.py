"""An event stream on its way to the client: passed on as it comes, and changed where it tells its usage.

Nothing waits for the classification but the event that ends the accounting: tokens are never held up. An event that tells
running totals before that says what is known by then.
"""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, Any

import orjson

from pixiu_py.errors import StreamTruncated, UpstreamProtocolError
from pixiu_py.filters.llm.promptcache.blocks import CHAT, MESSAGES
from pixiu_py.filters.llm.promptcache.usage import has_usage, replaced
from pixiu_py.http.inflate import Inflater, UnreadableError
from pixiu_py.http.sse import Event, SseParser

if TYPE_CHECKING:
    from collections.abc import Callable

    from pixiu_py.filters.llm.dialect import Dialect
    from pixiu_py.filters.llm.promptcache.account import Account
    from pixiu_py.http.body import Body, Sink

#: A chunk that ends so ends with an event, unless it began in the middle of one.
_ENDS = (b"\n\n", b"\n\r\n")
_NULL_USAGE = re.compile(rb'"usage"\s*:\s*null').findall
#: How many of the last pieces are looked at to tell whether a stream was complete.
_TAIL = 8


class EventSink:
    """Passes events on to the client's sink, with the split in those that tell usage."""

    __slots__ = (
        "_account",
        "_clean",
        "_held",
        "_inflater",
        "_next_framed",
        "_parser",
        "_rest",
        "_sink",
        "_tail",
        "_timeout",
    )

    def __init__(self, sink: Sink, account: Account, max_event: int, timeout: float, inflater: Inflater | None) -> None:
        self._sink = sink
        self._account = account
        self._parser = SseParser(max_event)
        self._timeout = timeout
        self._inflater = inflater
        #: Nothing of an event is pending in the parser.
        self._clean = True
        #: Events that wait for the classification, the first of them for itself.
        self._held: list[Event] = []
        self._rest = b""
        self._tail: deque[bytes] = deque(maxlen=_TAIL)
        self._next_framed: Callable[[bytes, bytes], bool] | None = getattr(sink, "write_framed", None)

    def write_framed(self, framed: bytes, chunk: bytes) -> bool:
        """See ``FramedSink.write_framed``."""
        if (
            self._next_framed is not None
            and self._clean
            and not self._held
            and self._inflater is None
            and chunk.endswith(_ENDS)
            and _tells_nothing(chunk)
        ):
            self._tail.append(chunk)
            return self._next_framed(framed, chunk)
        return self.write(chunk)

    def write(self, chunk: bytes) -> bool:
        """See ``Sink.write``. Full while an event waits."""
        if self._inflater is not None:
            chunk = _inflated(self._inflater, chunk)
            if not chunk:
                return True
        ends = chunk.endswith(_ENDS)
        if self._clean and ends and not self._held and _tells_nothing(chunk):
            self._tail.append(chunk)
            return self._sink.write(chunk)
        events = self._parser.feed(chunk)
        self._clean = ends
        if self._held:
            self._held += events
            return False
        out = self._told(events)
        room = self._sink.write(out) if out else True
        return room and not self._held

    async def drain(self) -> None:
        """See ``Sink.drain``."""
        if self._held:
            await self._account.join(self._timeout)
            out = self._release()
            if out:
                self._sink.write(out)
        await self._sink.drain()

    def flush_head(self) -> None:
        """See ``Sink.flush_head``."""
        self._sink.flush_head()

    def finish(self, chunk: bytes = b"") -> None:
        """Everything has come; ``settle`` finishes the client's side."""
        self._rest = chunk

    async def settle(self, dialect: Dialect) -> None:
        """The end of the stream: join what is still to be joined, then finish."""
        chunk = self._rest
        if self._inflater is not None:
            chunk = _inflated(self._inflater, chunk)
            if not self._inflater.finished:
                raise StreamTruncated("the compressed stream ended before it was complete")
        events = [*self._parser.feed(chunk), *self._parser.close()]
        if self._held:
            self._held += events
            out = b""
        else:
            out = self._told(events)
        if self._held:
            if out:
                self._sink.write(out)
            await self._account.join(self._timeout)
            out = self._release()
        self._account.complete = dialect.complete(b"".join(self._tail))
        self._sink.finish(out)

    def _release(self) -> bytes:
        """What waited, now that nothing is waited for any more."""
        held, self._held = self._held, []
        return self._told(held)

    def _told(self, events: list[Event]) -> bytes:
        """The bytes of these events; from the first one on that has to wait, they are held."""
        parts: list[bytes] = []
        for number, event in enumerate(events):
            data = event.data
            self._tail.append(event.raw)
            if data is None or not (has_usage(data) or b'"error"' in data or event.name == "error"):
                parts.append(event.raw)
                continue
            said = self._said(event, data)
            if said is None:
                self._held = events[number:]
                break
            parts.append(said)
        return b"".join(parts)

    def _said(self, event: Event, data: bytes) -> bytes | None:
        """The bytes of an event that may tell usage, or an error. None: it has to wait."""
        try:
            document = orjson.loads(data)
        except orjson.JSONDecodeError:
            return event.raw
        if type(document) is not dict:
            return event.raw
        account = self._account
        if tells_error(event.name, document):
            account.failed = True
        path, usage = usage_in(document)
        if usage is None:
            return event.raw
        if account.find_out is not None:
            account.find_out()
        if not account.is_decided and account.is_active and is_last(account.api.name, document):
            return None
        said = account.tell(usage)
        if account.is_hidden(document):
            return b""
        return event.raw if said is None else edited(event.raw, data, replaced(data, path, said))


def _tells_nothing(chunk: bytes) -> bool:
    """True for whole events without usage and without an error: most of them. Usage that is null is none."""
    if b"error" in chunk:
        return False
    mentions = chunk.count(b'"usage"')
    return not mentions or len(_NULL_USAGE(chunk)) == mentions


def _inflated(inflater: Inflater, chunk: bytes) -> bytes:
    try:
        return inflater.feed(chunk)
    except UnreadableError as error:
        raise UpstreamProtocolError(f"the compressed stream cannot be read ({error.reason})") from None


def usage_in(document: dict[str, Any]) -> tuple[tuple[str, ...], dict[str, Any] | None]:
    """Where an event tells its usage, and what; in each of the APIs in a place of its own."""
    usage = document.get("usage")
    if type(usage) is dict:
        return ("usage",), usage
    for key in ("message", "response"):
        below = document.get(key)
        usage = below.get("usage") if type(below) is dict else None
        if type(usage) is dict:
            return (key, "usage"), usage
    return (), None


def tells_error(name: str, document: dict[str, Any]) -> bool:
    """True for an event that tells of an error. A key ``error`` that is null is none."""
    if name == "error" or document.get("type") in ("error", "response.failed"):
        return True
    return document.get("error") is not None


def is_last(api: str, document: dict[str, Any]) -> bool:
    """True for usage that can be the last word; false for a running total that comes with a token, or before the first."""
    if api == MESSAGES.name:
        return document.get("type") != "message_start"
    choices = document.get("choices")
    if api != CHAT.name or type(choices) is not list:
        return True
    return not choices or any(type(choice) is dict and choice.get("finish_reason") for choice in choices)


def edited(raw: bytes, old: bytes, new: bytes) -> bytes:
    """An event with other data. Every line that is no data stays as it is, and so do the ends of lines."""
    at = raw.find(old)
    if at >= 0:
        return raw[:at] + new + raw[at + len(old) :]
    lines = raw.splitlines(keepends=True)  # of bytes: at CR, LF and CRLF only
    first = next(number for number, line in enumerate(lines) if line.startswith(b"data:"))
    end = lines[first][len(lines[first].rstrip(b"\r\n")) :]
    one = b"data: %b%b" % (new.replace(b"\n", b" "), end)
    rest = [line for number, line in enumerate(lines) if number > first and not _is_data(line)]
    return b"".join([*lines[:first], one, *rest])


def _is_data(line: bytes) -> bool:
    return line.startswith(b"data:") or line.strip() == b"data"


class EventBody:
    """The body of an event stream that tells the split."""

    length: int | None = None

    def __init__(
        self,
        body: Body,
        account: Account,
        dialect: Dialect,
        max_event: int,
        timeout: float,
        inflater: Inflater | None = None,
    ) -> None:
        self._body = body
        self._account = account
        self._dialect = dialect
        self._max_event = max_event
        self._timeout = timeout
        self._inflater = inflater

    async def pipe(self, sink: Sink) -> None:
        """See ``Body.pipe``."""
        events = EventSink(sink, self._account, self._max_event, self._timeout, self._inflater)
        await self._body.pipe(events)
        await events.settle(self._dialect)

    def abort(self) -> None:
        """See ``Body.abort``."""
        self._body.abort()
