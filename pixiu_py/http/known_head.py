"""How the head of a request that comes again is recognised instead of being parsed again.

A client that keeps its connection sends nearly the same head with every request: only Content-Length differs. What aiohttp's
parser made of the first is true of every head with the same bytes, so that the second costs two comparisons. Nothing is
parsed here: what is not equal byte for byte goes to the parser, and so does whatever comes while that is in the middle of a
message, or is more or less than one whole request.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from pixiu_py.http.request_head import RequestHead

if TYPE_CHECKING:
    from aiohttp.http import RawRequestMessage
    from aiohttp.streams import StreamReader

#: A longer head is not remembered. Each client connection remembers one at most.
LONGEST_KNOWN = 4096
#: A client whose heads differ each time is not learnt from after so many in vain.
_TRIES = 3
#: Digits of a Content-Length that are looked at; no body with more comes in one piece.
_DIGITS = 12

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,%d})\r\n" % _DIGITS, re.IGNORECASE)


class KnownHead:
    """The bytes of a head, cut where its Content-Length stands, and what they mean."""

    __slots__ = ("__weakref__", "_begins", "_digits", "_ends", "_head")

    def __init__(self, begins: bytes, digits: bytes, ends: bytes, head: RequestHead) -> None:
        self._begins = begins
        self._digits = digits
        #: Empty when the head has no Content-Length.
        self._ends = ends
        self._head = head

    def match(self, data: bytes) -> tuple[RequestHead, bytes] | None:
        """Head and body, when ``data`` is exactly one request with this head; None when it is anything else."""
        if not data.startswith(self._begins):
            return None
        start = len(self._begins)
        if not self._ends:
            return (self._head, b"") if len(data) == start else None
        stop = data.find(b"\r", start, start + _DIGITS + 1)
        digits = data[start:stop]
        if stop < 0 or not digits.isdigit() or not data.startswith(self._ends, stop):
            return None
        body = data[stop + len(self._ends) :]
        if len(body) != int(digits):
            return None
        return self._head if digits == self._digits else self._head.with_length(digits), body


#: The known heads of a server's connections, by their bytes: clients of one kind share theirs, and the last one takes it away.
KnownHeads = WeakValueDictionary[tuple[bytes, bytes], KnownHead]


class HeadMemory:
    """What one connection remembers, and where its parser stands."""

    __slots__ = ("_known", "_missing", "_shared", "_tries")

    def __init__(self, shared: KnownHeads) -> None:
        self._shared = shared
        self._known: KnownHead | None = None
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
        if data.count(b"\r\n", 0, size) != len(message.raw_headers) + 2:
            return  # a field that does not stand here
        found = _LENGTH.search(data, 0, size)
        if found is not None:
            begins, digits, ends = data[: found.start(1)], found[1], data[found.end(1) : size]
        elif "Content-Length" not in message.headers:
            begins, digits, ends = data[:size], b"", b""
        else:
            return  # written in an unusual way
        known = self._shared.get((begins, ends))
        if known is None:
            known = self._shared[begins, ends] = KnownHead(begins, digits, ends, RequestHead(message))
        self._known = known
