"""The bytes of a head that comes again and again, cut at the values that differ each time.

Which fields these are is learnt from two heads: most clients and endpoints give each message an id of its own, under names of
their choice. A field that says where a message ends, how it is to be read or whose it is never varies. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from pixiu_py.http.headers import CREDENTIAL, LENGTH, Raw, kind_of

#: A head with more values that differ is one that differs, and so is one with a longer value among them, in bytes.
MOST_VARYING = 8
LONGEST_VALUE = 256
#: Digits of a Content-Length that are looked at; no body with more comes in one piece.
_DIGITS = 12

#: Fields that decide what the rest of a message means. Those of a hop, of its length and of credentials are known by kind.
_DECISIVE = frozenset(
    (
        b"content-encoding",
        b"content-range",
        b"content-type",
        b"cookie",
        b"origin",
        b"sec-websocket-key1",
        b"set-cookie",
    )
)
#: What every parser takes as it is; less than RFC 9110 §5.5 allows.
_is_plain = re.compile(rb"[!-~](?:[ -~]{0,%d}[!-~])?" % (LONGEST_VALUE - 2)).fullmatch
_is_length = re.compile(rb"[0-9]{1,%d}" % _DIGITS).fullmatch

Check = Callable[[bytes], object]


class Cut(NamedTuple):
    """A value that may differ."""

    #: Of its field among all.
    place: int
    #: The bytes between the value before, or the beginning, and this one.
    begins: bytes
    #: Tells whether bytes may stand in its place.
    check: Check


class HeadPattern:
    """A head, cut at its Content-Length and at other values that may differ."""

    __slots__ = ("_begins", "_ends", "cuts", "length", "places", "varying")

    def __init__(self, cuts: Sequence[Cut], length: int | None, ends: bytes) -> None:
        self.cuts = tuple(cuts)
        #: Which of the cuts is the Content-Length, if any is.
        self.length = length
        self.places = tuple([cut.place for cut in cuts])
        #: Those of the others.
        self.varying = frozenset([cut.place for cut in cuts if cut.check is _is_plain])
        self._begins = tuple([cut.begins for cut in cuts])
        self._ends = ends

    @property
    def key(self) -> tuple[bytes, ...]:
        """All that is the same in heads with this pattern."""
        return (*self._begins, self._ends)

    def split(self, data: bytes) -> tuple[list[bytes], int] | None:
        """What stands in place of the values, unchecked, and where the body begins; None when the rest is not the same."""
        at = 0
        values = []
        for begins in self._begins:
            if not data.startswith(begins, at):
                return None
            at += len(begins)
            stop = data.find(b"\r", at, at + LONGEST_VALUE + 1)
            if stop < 0:
                return None
            values.append(data[at:stop])
            at = stop
        return (values, at + len(self._ends)) if data.startswith(self._ends, at) else None

    def differing(self, values: Sequence[bytes], known: Sequence[bytes]) -> list[int] | None:
        """Which of ``values`` differ from ``known``, that may stand in the head; None when one of them may not."""
        found = []
        for index, value in enumerate(values):
            if value != known[index]:
                if not self.cuts[index].check(value):
                    return None
                found.append(index)
        return found


def varying(old: Sequence[Raw], new: Sequence[Raw]) -> frozenset[int]:
    """The places of fields that differ in their values, where nothing else differs and they may; else empty."""
    places = set()
    if len(old) != len(new):
        return frozenset()
    for place, ((name, before), (same, after)) in enumerate(zip(old, new, strict=True)):
        if name != same:
            return frozenset()
        if before == after or kind_of(name) == LENGTH:
            continue
        if kind_of(name) >= CREDENTIAL or name.lower() in _DECISIVE:
            return frozenset()
        places.add(place)
    return frozenset(places)


def pattern_of(head: bytes, raw: Sequence[Raw], checks: dict[int, Check]) -> HeadPattern | None:
    """``head`` cut at its Content-Length and at the values of the fields in the places of ``checks``.

    ``raw`` is what the parser made of it. None when it is written in an unusual way.
    """
    lines = head.split(b"\r\n")
    if len(lines) != len(raw) + 3:  # the first line, and two empty ones; else a field does not stand here
        return None
    cuts: list[Cut] = []
    length: int | None = None
    begins = lines[0] + b"\r\n"
    for place, (name, value) in enumerate(raw):
        line = lines[place + 1]
        check = checks.get(place)
        if kind_of(name) == LENGTH:
            if length is not None:
                return None
            length = len(cuts)
            check = _is_length
        if check is None:
            begins += line + b"\r\n"
            continue
        start = len(line) - len(value)
        if line[:start].rstrip(b" \t") != name + b":" or line[start:] != value or not check(value):
            return None
        cuts.append(Cut(place, begins + line[:start], check))
        begins = b"\r\n"
    return HeadPattern(cuts, length, begins + b"\r\n")


def checks_of(places: frozenset[int]) -> dict[int, Check]:
    """For ``pattern_of``: plain text may stand in these places."""
    return dict.fromkeys(places, _is_plain) if len(places) <= MOST_VARYING else {}
