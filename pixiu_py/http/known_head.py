"""How the head of a message that comes again is recognised instead of being parsed again.

A client that keeps its connection sends nearly the same head with every request: only Content-Length differs, and perhaps an
id. What aiohttp's parser made of the first is true of every head with the same bytes, so that the second costs a few
comparisons. Nothing is parsed here: what is not equal byte for byte, apart from values that are known to vary, goes to the
parser, and so does whatever comes while that is in the middle of a message, or is more or less than one whole request.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Generic, TypeVar
from weakref import WeakValueDictionary

from pixiu_py.http.head_pattern import LONGEST_VALUE, MOST_VARYING, HeadPattern, checks_of, pattern_of, varying
from pixiu_py.http.headers import LENGTH, Raw, kind_of
from pixiu_py.http.message_head import MessageHead
from pixiu_py.http.received import Shape
from pixiu_py.http.request_head import RequestHead

if TYPE_CHECKING:
    from aiohttp.http import RawRequestMessage
    from aiohttp.streams import StreamReader

#: A longer head is not remembered. Each connection remembers one at most.
LONGEST_KNOWN = 4096
#: The longest that is recognised, in bytes.
LONGEST_RECOGNISED = LONGEST_KNOWN + MOST_VARYING * LONGEST_VALUE
#: A client whose heads differ each time is not learnt from after so many in vain.
_TRIES = 3


H = TypeVar("H", bound=MessageHead)


class KnownHead(Generic[H]):
    """The bytes of a head, cut at the values that may differ, and what the latest one with them means."""

    __slots__ = ("__weakref__", "_begins", "_head", "_latest", "_pattern", "_places", "_shape", "_values", "raw")

    def __init__(
        self, pattern: HeadPattern, latest: bytes, raw: Sequence[Raw], places: tuple[int, ...], head: H
    ) -> None:
        self._pattern = pattern
        #: Most heads that are others differ here.
        self._begins = pattern.key[0]
        self._latest = latest
        #: All fields of the first one, as the parser gave them.
        self.raw = raw
        #: Where the values stand among the fields of ``head``, which may be fewer.
        self._places = places
        own = [field for field, place in zip(places, pattern.places, strict=True) if kind_of(raw[place][0]) != LENGTH]
        self._shape = Shape(head.fields.raw, own)
        self._head = head
        self._values = [raw[place][1] for place in pattern.places]

    @property
    def varying(self) -> frozenset[int]:
        """The places of the fields that may differ, apart from Content-Length."""
        return self._pattern.varying

    def match(self, data: bytes) -> tuple[H, bytes] | None:
        """Head and body, when ``data`` is exactly one message with this head; None when it is anything else."""
        if data.startswith(self._latest):
            end = len(self._latest)
            return (self._head, data[end:]) if len(data) - end == self._head.length else None
        found = self._pattern.split(data) if data.startswith(self._begins) else None
        if found is None:
            return None
        values, end = found
        head = self._other(values)
        if head is None or len(data) - end != head.length:
            return None
        self._latest = data[:end]
        self._head = head
        self._values = values
        return head, data[end:]

    def _other(self, values: list[bytes]) -> H | None:
        """The head with other values; None when they need the parser's judgement."""
        pattern = self._pattern
        differing = pattern.differing(values, self._values)
        if differing is None:
            return None
        at = pattern.length
        length = self._head.length if at is None else int(values[at])
        fields = self._head.fields
        if at is not None and differing == [at]:
            return self._head.with_fields(fields.with_length(self._places[at], values[at]), length)
        other = fields.with_values(self._places, values)
        other.shape = self._shape
        other.values = tuple(values if at is None else values[:at] + values[at + 1 :])
        return self._head.with_fields(other, length)


#: The known heads of many connections, by their bytes: clients of one kind share theirs, and the last one takes it away.
KnownHeads = WeakValueDictionary[tuple[bytes, ...], KnownHead[RequestHead]]


def may_differ(known: KnownHead[H] | None, raw: Sequence[Raw]) -> frozenset[int]:
    """The places of the values that are to be cut out of a head, after one that is known."""
    if known is None:
        return frozenset()
    differing = varying(known.raw, raw)
    return differing and differing | known.varying


def learnt(
    shared: WeakValueDictionary[tuple[bytes, ...], KnownHead[H]],
    pattern: HeadPattern,
    data: bytes,
    raw: Sequence[Raw],
    head: H,
) -> KnownHead[H] | None:
    """The known head with the pattern of ``data``, the bytes of ``head``. None when a field that may differ is none of its."""
    known = shared.get(pattern.key)
    if known is not None:
        return known
    places = pattern.places
    if head.fields.raw is not raw:  # some were dropped, or are others now
        where = {id(field): place for place, field in enumerate(head.fields.raw)}
        places = tuple([where.get(id(raw[place]), -1) for place in places])
        if -1 in places:
            return None
    known = shared[pattern.key] = KnownHead(pattern, data, raw, places, head)
    return known


class HeadMemory:
    """What one connection remembers, and where its parser stands."""

    __slots__ = ("_known", "_missing", "_shared", "_tries")

    def __init__(self, shared: KnownHeads) -> None:
        self._shared = shared
        self._known: KnownHead[RequestHead] | None = None
        #: Bytes until the parser is in between two messages; None when nobody can tell.
        self._missing: int | None = 0
        self._tries = _TRIES

    def find(self, data: bytes) -> tuple[RequestHead, bytes] | None:
        """Head and body of the whole request that ``data`` is, if its head is known."""
        if self._known is None or self._missing != 0:
            return None
        found = self._known.match(data)
        if found is not None:
            self._tries = _TRIES
        return found

    def parsed(self, data: bytes, message: RawRequestMessage, payload: StreamReader) -> None:
        """The parser has made one request of ``data``; its body may go on."""
        if self._known is None and not self._tries:
            return  # nothing will ever be found
        if self._missing != 0 or not data[:1].isalpha():  # an empty line may stand before a request
            self._missing = None
            return
        headers = message.headers
        if message.chunked or message.upgrade or message.method == "CONNECT" or "Expect" in headers:
            self._missing = None
            return
        size = data.find(b"\r\n\r\n") + 4
        length = int(headers.get("Content-Length", 0))
        self._missing = size + length - len(data)
        if self._missing < 0 or (self._missing == 0) is not payload.is_eof():
            self._missing = None
        elif self._missing == 0 and self._known is not None and not self._tries:
            self._known = None
        elif self._missing == 0 and self._tries and size <= LONGEST_KNOWN:
            self._tries -= 1
            self._learn(data, size, message)

    def continued(self, data: bytes, requests: int) -> None:
        """The parser was given ``data``, which held the beginning of so many requests, if any."""
        if requests or self._missing is None or self._missing < len(data):
            self._missing = None
        else:
            self._missing -= len(data)

    def parser_renewed(self) -> None:
        """There is a new parser, which has seen nothing."""
        self._missing = 0

    def _learn(self, data: bytes, size: int, message: RawRequestMessage) -> None:
        raw = message.raw_headers
        data = data[:size]
        pattern = pattern_of(data, raw, checks_of(may_differ(self._known, raw)))
        if pattern is not None and (pattern.length is not None or "Content-Length" not in message.headers):
            self._known = learnt(self._shared, pattern, data, raw, RequestHead(message)) or self._known
