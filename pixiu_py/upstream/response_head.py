"""The head of an endpoint's response, as aiohttp's parser gives it; and how one that comes again is recognised.

An endpoint's answers mostly differ in Content-Length and Date only. As with requests (``http/known_head.py``) the parser is
spared a head whose other bytes it has seen before, when the whole answer has come with it.
"""

from __future__ import annotations

import re
from copy import copy
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from pixiu_py.http.headers import DATE, LENGTH, Received, kind_of, received
from pixiu_py.upstream.chunks import head_size

if TYPE_CHECKING:
    from aiohttp.http import RawResponseMessage
    from aiohttp.streams import StreamReader

#: A longer head is not remembered. Each connection remembers one at most.
LONGEST_KNOWN = 4096
#: An endpoint whose heads differ each time is not learnt from after so many in vain.
_TRIES = 3
#: The longest value that may differ: a date has 29 bytes.
_LONGEST_VALUE = 29

_DATE = rb"[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT"
_IS_DATE = re.compile(_DATE).fullmatch
_VALUES = re.compile(rb"\r\n(?:content-length:[ \t]*([0-9]{1,12})|date:[ \t]*(%b))(?=\r\n)" % _DATE, re.IGNORECASE)


class ResponseHead:
    """What the parser made of a response head."""

    __slots__ = ("chunked", "closes", "fields", "is_event_stream", "length", "reason", "status")

    def __init__(self, message: RawResponseMessage) -> None:
        self.status: int = message.code
        self.reason: str = message.reason
        self.fields = received(message.raw_headers, message.headers)
        #: Declared bytes of the body; None when it is chunked or ends with the connection.
        self.length = content_length(message)
        self.chunked: bool = message.chunked
        #: The connection serves no other request.
        self.closes: bool = message.should_close
        headers = message.headers
        #: An event stream that can be read: a compressed one is passed on unseen.
        self.is_event_stream = (
            headers.get("Content-Type", "").lower().startswith("text/event-stream")
            and "Content-Encoding" not in headers
        )

    def with_values(self, length: bytes, date: bytes) -> ResponseHead:
        """The same head with another Content-Length and another Date."""
        new = {LENGTH: length, DATE: date}
        head = copy(self)
        head.length = int(length)
        head.fields = Received(tuple([(name, new.get(kind_of(name), value)) for name, value in self.fields.raw]))
        return head


def content_length(message: RawResponseMessage) -> int | None:
    """The declared length of a body; None when it is chunked or ends with the connection."""
    if message.chunked:
        return None
    declared = message.headers.get("Content-Length")
    return int(declared) if declared is not None and declared.isdigit() else None


class KnownResponse:
    """The bytes of a head, cut where Content-Length and Date stand, and what they mean."""

    __slots__ = ("__weakref__", "_ends", "_head", "_parts", "_values")

    def __init__(self, parts: list[tuple[bytes, bool]], ends: bytes, head: ResponseHead) -> None:
        #: What stands before each of the values, and whether that is a Date.
        self._parts = parts
        self._ends = ends
        #: The latest head, and its length and date.
        self._head = head
        self._values = (b"", b"")

    def match(self, data: bytes) -> tuple[ResponseHead, bytes] | None:
        """Head and body, when ``data`` is exactly one response with this head; None when it is anything else."""
        at = 0
        length = date = b""
        for begins, is_date in self._parts:
            if not data.startswith(begins, at):
                return None
            at += len(begins)
            stop = data.find(b"\r", at, at + _LONGEST_VALUE + 1)
            if stop < 0:
                return None
            if is_date:
                date = data[at:stop]
            else:
                length = data[at:stop]
            at = stop
        if not data.startswith(self._ends, at):
            return None
        body = data[at + len(self._ends) :]
        if (length, date) != self._values:
            if not length.isdigit() or (date and not _IS_DATE(date)):
                return None
            self._head = self._head.with_values(length, date)
            self._values = (length, date)
        return (self._head, body) if len(body) == self._head.length else None


#: The known heads of an endpoint's connections, by their bytes.
KnownResponses = WeakValueDictionary[tuple[bytes, ...], KnownResponse]


class ResponseMemory:
    """What one connection remembers."""

    __slots__ = ("_known", "_shared", "_tries")

    def __init__(self, shared: KnownResponses) -> None:
        self._shared = shared
        self._known: KnownResponse | None = None
        self._tries = _TRIES

    def find(self, data: bytes) -> tuple[ResponseHead, bytes] | None:
        """Head and body of the whole response that ``data`` is, if its head is known."""
        if self._known is None:
            return None
        found = self._known.match(data)
        if found is not None:
            self._tries = _TRIES
        return found

    def parsed(self, data: bytes, head: ResponseHead, payload: StreamReader) -> None:
        """The parser has made one response of ``data``. Those that came whole, with their length, are learnt from."""
        if not self._tries or head.length is None or head.status < 200 or head.status in (204, 304):
            return
        size = head_size(data)
        if size > LONGEST_KNOWN or not payload.is_eof() or len(data) - size != head.length:
            return
        self._tries -= 1
        # Line ends may be others, which the parser lets pass; and each field that is learnt has to stand here.
        if size and data.count(b"\r\n", 0, size) == len(head.fields.raw) + 2:
            self._learn(data, size, head)

    def _learn(self, data: bytes, size: int, head: ResponseHead) -> None:
        parts = []
        at = 0
        for found in _VALUES.finditer(data, 0, size):
            group = found.lastindex or 0
            parts.append((data[at : found.start(group)], group == 2))
            at = found.end(group)
        if sorted(is_date for _, is_date in parts) not in ([False], [False, True]):
            return  # written in an unusual way, or twice
        ends = data[at:size]
        key = (*(begins for begins, _ in parts), ends)
        known = self._shared.get(key)
        if known is None:
            known = self._shared[key] = KnownResponse(parts, ends, head)
        self._known = known
