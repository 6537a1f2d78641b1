"""The head of an endpoint's response, as aiohttp's parser gives it; and how one that comes again is recognised.

An endpoint's answers mostly differ in Content-Length, Date and an id only. As with requests (``http/known_head.py``) the
parser is spared a head whose other bytes it has seen before, when the whole answer has come with it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from aiohttp import HttpVersion11

from pixiu_py.http.head_pattern import checks_of, pattern_of
from pixiu_py.http.headers import DATE, kind_of
from pixiu_py.http.known_head import LONGEST_KNOWN, KnownHead, learnt, may_differ
from pixiu_py.http.message_head import MessageHead
from pixiu_py.http.received import received
from pixiu_py.upstream.chunks import head_size

if TYPE_CHECKING:
    from aiohttp.http import RawResponseMessage
    from aiohttp.streams import StreamReader

#: An endpoint whose heads differ each time is not learnt from after so many in vain.
_TRIES = 3

#: Transfer codings that the parser takes off; the second is none, and was a name for that.
_CODINGS = frozenset(("chunked", "identity", ""))

_is_date = re.compile(rb"[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT").fullmatch


class ResponseHead(MessageHead):
    """What the parser made of a response head."""

    __slots__ = ("chunked", "closes", "is_event_stream", "reason", "status")

    def __init__(self, message: RawResponseMessage) -> None:
        self.status: int = message.code
        self.reason: str = message.reason
        self.fields = received(message.raw_headers, message.headers)
        #: Declared bytes of the body; None when it is chunked or ends with the connection.
        self.length = content_length(message)
        self.chunked: bool = message.chunked
        #: The connection serves no other request, as after a chunked answer of an old version (RFC 9112 §6.1).
        self.closes: bool = message.should_close or (message.chunked and message.version < HttpVersion11)
        headers = message.headers
        #: An event stream that can be read: a compressed one is passed on unseen.
        self.is_event_stream = (
            headers.get("Content-Type", "").lower().startswith("text/event-stream")
            and "Content-Encoding" not in headers
        )


def has_other(codings: Sequence[str]) -> bool:
    """True when a body has a transfer coding that nobody takes off, and that would not be told to the client."""
    return not _CODINGS.issuperset([coding.lower() for coding in codings])


def content_length(message: RawResponseMessage) -> int | None:
    """The declared length of a body; None when it is chunked or ends with the connection."""
    if message.chunked:
        return None
    declared = message.headers.get("Content-Length")
    return int(declared) if declared is not None and declared.isdigit() else None


#: The known heads of an endpoint's connections, by their bytes.
KnownResponses = WeakValueDictionary[tuple[bytes, ...], KnownHead[ResponseHead]]


class ResponseMemory:
    """What one connection remembers."""

    __slots__ = ("_known", "_shared", "_tries")

    def __init__(self, shared: KnownResponses) -> None:
        self._shared = shared
        self._known: KnownHead[ResponseHead] | None = None
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
        if size:  # else line ends are others, which the parser lets pass
            self._learn(data[:size], head)

    def _learn(self, data: bytes, head: ResponseHead) -> None:
        raw = head.fields.raw
        dates = {
            place: _is_date for place, (name, value) in enumerate(raw) if kind_of(name) == DATE and _is_date(value)
        }
        pattern = pattern_of(data, raw, checks_of(may_differ(self._known, raw)) | dates)
        if pattern is not None and pattern.length is not None:
            self._known = learnt(self._shared, pattern, data, raw, head)
