"""Server-sent events, cut and read as they come (WHATWG HTML, section 9.2: lines, fields, blank lines that end an event).

The bytes stay whole: the ``raw`` of all events, put together, is the stream, so whoever changes one event passes the others
on untouched. Where the stream is cut depends on its bytes only, never on how they were split into chunks.

Three things go beyond the standard, because a gateway has to keep what a browser may drop:

- What holds no data (comments, heartbeats, a blank line too many) is an event as well, with ``data`` None.
- An event above the limit comes in pieces of that size, unread, so memory stays bounded.
- The rest of a stream that ends without a blank line is an event marked as not complete.

A line may end in CR, LF or CRLF. After a CR one has to see the next byte to know; in a stream of lone CRs that would delay
each event until the next. So a blank line's CR after a lone CR ends the event at once, and should a LF follow
after all, it is the first byte of the next event's ``raw``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

#: Largest event that is read, in bytes, unless the caller says otherwise.
MAX_EVENT = 2**20

_BOM = b"\xef\xbb\xbf"
_LINE_END = re.compile(rb"\r\n?|\n")
_CR = 13
_LF = 10


@dataclass(slots=True)
class Event:
    """One event, or what stands in the place of one."""

    #: The bytes of the stream, with the blank line.
    raw: bytes
    #: The ``data`` lines, joined by LF, not decoded. None: there are none, and a browser would see no event.
    data: bytes | None = None
    name: str = "message"
    #: True for a piece of an event above the limit, which has not been read.
    oversized: bool = False
    #: False when the stream ended within it. A browser would drop it.
    complete: bool = True


class SseParser:
    """The parser of one stream. ``limit`` is the size of the largest event to read, in bytes, at least 3."""

    __slots__ = (
        "_after_cr",
        "_bom",
        "_has_cr",
        "_inside",
        "_limit",
        "_line",
        "_pending",
        "_scan",
        "_skip_lf",
        "_start",
    )

    def __init__(self, limit: int = MAX_EVENT) -> None:
        if limit < len(_BOM):
            raise ValueError(f"an event limit of {limit} bytes is too small")
        self._limit = limit
        #: Bytes that belong to no event yet.
        self._pending = bytearray()
        #: Where the current line begins in them (negative: before them), and where its end has still to be looked for.
        self._line = self._scan = 0
        #: Nothing has come yet but possibly the beginning of a BOM; and: the next event begins with one.
        self._start, self._bom = True, False
        #: The stream has CRs. Most have none, and are scanned faster.
        self._has_cr = False
        #: The last line ended in a CR alone; and: a LF that follows now still belongs to it.
        self._after_cr = self._skip_lf = False
        #: Pieces of the current event have been given out.
        self._inside = False

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that ``chunk`` completes."""
        if not self._has_cr:
            self._has_cr = b"\r" in chunk
        if not self._pending:
            events, begin = self._cut(chunk)
            self._pending += chunk[begin:] if begin else chunk
            return events
        self._pending += chunk
        events, begin = self._cut(self._pending)
        del self._pending[:begin]
        return events

    def close(self) -> list[Event]:
        """The stream is over: what was still pending."""
        events, begin = self._cut(self._pending, final=True)
        rest = bytes(self._pending[begin:])
        self._pending.clear()
        if self._inside:
            events.append(Event(rest, oversized=True, complete=False))
        elif rest:
            events.append(self._event(rest, complete=False))
        return events

    # --- cutting -----------------------------------------------------------------------------------------------------

    def _cut(self, buffer: bytes | bytearray, final: bool = False) -> tuple[list[Event], int]:
        """The events in ``buffer``, and where what comes after them begins."""
        if self._start:
            self._look_for_bom(bytes(buffer[: len(_BOM)]))
        events: list[Event] = []
        begin = 0
        for end in self._blank_lines(buffer, final) if self._has_cr else self._blank_lines_lf(buffer):
            if self._inside or end - begin > self._limit:
                events += self._pieces(buffer, begin, end)
                self._inside = False
            else:
                events.append(self._event(bytes(buffer[begin:end])))
            begin = end
        if len(buffer) - begin > self._limit:  # too long already, without an end in sight
            whole = (len(buffer) - begin - 1) // self._limit * self._limit
            events += self._pieces(buffer, begin, begin + whole)
            self._inside = True
            begin += whole
        self._line -= begin
        self._scan -= begin
        return events, begin

    def _look_for_bom(self, head: bytes) -> None:
        if head == _BOM:
            self._line = self._scan = len(_BOM)
            self._bom = True
        self._start = head != _BOM and _BOM.startswith(head)

    def _blank_lines_lf(self, buffer: bytes | bytearray) -> list[int]:
        """Where blank lines end, in a stream without CRs so far."""
        ends: list[int] = []
        line, scan = self._line, self._scan
        while (at := buffer.find(b"\n", scan)) >= 0:
            if at == line:
                ends.append(at + 1)
            line = scan = at + 1
        self._line, self._scan = line, len(buffer)
        return ends

    def _blank_lines(self, buffer: bytes | bytearray, final: bool) -> list[int]:
        """Where blank lines end. A CR that is the last byte may be half of an end and is left for later, unless ``final``."""
        ends: list[int] = []
        while True:
            self._skip_late_lf(buffer)
            found = _LINE_END.search(buffer, self._scan)
            if found is None:
                self._scan = len(buffer)
                return ends
            start, end = found.span()
            is_blank = start == self._line
            if is_blank and self._after_cr and buffer[start] == _CR:  # do not wait for the next byte, see above
                end = start + 1
                self._skip_lf = True
            elif buffer[end - 1] == _CR and end == len(buffer) and not final:
                self._scan = start
                return ends
            self._after_cr = buffer[end - 1] == _CR
            self._line = self._scan = end
            if is_blank:
                ends.append(end)

    def _skip_late_lf(self, buffer: bytes | bytearray) -> None:
        if self._skip_lf and len(buffer) > self._line:
            self._skip_lf = False
            if buffer[self._line] == _LF:
                self._line = self._scan = self._line + 1

    # --- events ------------------------------------------------------------------------------------------------------

    def _pieces(self, buffer: bytes | bytearray, begin: int, end: int) -> list[Event]:
        self._bom = False
        cuts = range(begin, end, self._limit)
        return [Event(bytes(buffer[at : min(at + self._limit, end)]), oversized=True) for at in cuts]

    def _event(self, raw: bytes, complete: bool = True) -> Event:
        text = raw
        if self._bom:
            text = raw[len(_BOM) :]
            self._bom = False
        name, data = _read(text)
        return Event(raw, data, name, complete=complete)


def _read(text: bytes) -> tuple[str, bytes | None]:
    """Name and data of one event. Fields other than these, and comments, are not looked at."""
    name = ""
    data: list[bytes] = []
    for line in text.splitlines():  # of bytes: at CR, LF and CRLF only
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ").decode(errors="replace")
    return name or "message", b"\n".join(data) if data else None
