"""Where values are in a JSON text, for whoever changes some of them and leaves every other byte as it is.

One pass without recursion: what a ``Shape`` does not ask about is stepped over, however deep it is. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import orjson

# Unrolled and possessive, so that a long string costs one step of the engine and not one for each character.
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TOKEN = re.compile(_STRING + rb"|[{}\[\],]", re.DOTALL)
_BRACKET = re.compile(_STRING + rb"|[{}\[\]]", re.DOTALL)
_FLAT = re.compile(rb'\{(?:[^{}\[\]"]|' + _STRING + rb")*+\}", re.DOTALL)
_COLON = re.compile(rb"\s*:\s*")
_BLANKS = b" \t\r\n"


class Shape:
    """Which containers are wanted. ``tag`` names this one; ``members`` and ``each`` say where to look for more."""

    __slots__ = ("each", "members", "needs", "tag")

    def __init__(
        self, tag: str = "", members: Mapping[str, Shape] | None = None, each: Shape | None = None, needs: bytes = b""
    ) -> None:
        self.tag = tag
        #: By key, for an object.
        self.members = members or {}
        #: For the elements of an array.
        self.each = each
        #: A key: where an object holds no other container, it is only wanted with it. That saves most of the work.
        self.needs = needs


class Item(NamedTuple):
    """A member of an object, or an element of an array: half-open spans in the text."""

    #: Empty for an element.
    key: str
    start: int
    value: int
    end: int


class Container(NamedTuple):
    """An object or array that was asked for: from its opening bracket to the byte after its closing one."""

    tag: str
    #: Positions in the arrays on the way to it.
    place: tuple[int, ...]
    start: int
    end: int
    items: list[Item]


class Edit(NamedTuple):
    """A span and what takes its place."""

    start: int
    end: int
    new: bytes = b""


class _Frame:
    __slots__ = ("index", "is_object", "items", "key", "place", "shape", "start", "value", "wants_key", "where")

    def __init__(self, shape: Shape, is_object: bool, where: int, place: tuple[int, ...]) -> None:
        self.shape = shape
        self.is_object = is_object
        self.where = where
        self.place = place
        self.items: list[Item] = []
        self.index = 0
        self.key = ""
        #: Where the current item and its value begin; -1: it has not begun.
        self.start = self.value = -1
        self.wants_key = is_object

    def below(self) -> Shape | None:
        """What is wanted of the value that begins now."""
        return self.shape.members.get(self.key) if self.is_object else self.shape.each

    def close_item(self, text: bytes, at: int) -> None:
        """The current item ends before ``at``."""
        if self.is_object:
            if self.start < 0:
                return
        else:
            self.start = self.value = _after_space(text, self.items[-1].end + 1 if self.items else self.where + 1)
            if self.start >= at and not self.items:
                return
        while text[at - 1] in _BLANKS:
            at -= 1
        self.items.append(Item(self.key, self.start, self.value, at))
        self.start = -1
        self.index += 1
        self.wants_key = self.is_object


def _after_space(text: bytes, at: int) -> int:
    """Where the next value begins; a comma counts as space, for the rest of a line that was stepped over."""
    while at < len(text) and (text[at] in _BLANKS or text[at] == 0x2C):
        at += 1
    return at


def find(text: bytes, shape: Shape) -> list[Container]:
    """The wanted containers, each after those inside of it. ``text`` must be JSON; of anything else, what was found."""
    found: list[Container] = []
    stack: list[_Frame] = []
    position = 0
    while (token := _TOKEN.search(text, position)) is not None:
        position = token.end()
        first = text[token.start()]
        frame = stack[-1] if stack else None
        if first == 0x22:  # a string
            if frame is not None and frame.wants_key:
                frame.key = _key(token[0])
                frame.start = token.start()
                colon = _COLON.match(text, position)
                position = frame.value = colon.end() if colon else position
                frame.wants_key = False
        elif first in b"{[":
            below = shape if frame is None else frame.below()
            end = end_of(text, token.start()) if below is None else _unwanted(text, token.start(), below.needs)
            if below is None or end:
                position = end
                continue
            place = () if frame is None else frame.place if frame.is_object else (*frame.place, frame.index)
            stack.append(_Frame(below, first == 0x7B, token.start(), place))
        elif frame is None:
            break
        else:
            frame.close_item(text, token.start())
            if first == 0x2C:
                continue
            stack.pop()
            if frame.shape.tag:
                found.append(Container(frame.shape.tag, frame.place, frame.where, position, frame.items))
            if not stack:
                break
    return found


def _unwanted(text: bytes, start: int, key: bytes) -> int:
    """Where the object at ``start`` ends, if it holds no container and no ``key``, nor what might be one in disguise."""
    if not key:
        return 0
    flat = _FLAT.match(text, start)
    if flat is None or text.find(key, start, flat.end()) >= 0 or text.find(b"\\u", start, flat.end()) >= 0:
        return 0
    return flat.end()


def end_of(text: bytes, start: int) -> int:
    """Where the container ends that begins at ``start``."""
    depth = 1
    position = start + 1
    while depth:
        token = _BRACKET.search(text, position)
        if token is None:
            return len(text)
        position = token.end()
        first = text[token.start()]
        if first in b"{[":
            depth += 1
        elif first in b"}]":
            depth -= 1
    return position


def _key(token: bytes) -> str:
    if b"\\" not in token:
        return token[1:-1].decode("utf-8", "replace")
    try:
        return str(orjson.loads(token))
    except orjson.JSONDecodeError:
        return ""


def without(container: Container, unwanted: Iterable[int]) -> list[Edit]:
    """The edits that take items away, with the commas that they leave over."""
    gone = set(unwanted)
    items = container.items
    edits = []
    first = 0
    while first < len(items):
        if first not in gone:
            first += 1
            continue
        last = first
        while last + 1 in gone:
            last += 1
        if last + 1 < len(items):
            edits.append(Edit(items[first].start, items[last + 1].start))
        elif first:
            edits.append(Edit(items[first - 1].end, items[last].end))
        else:
            edits.append(Edit(items[first].start, items[last].end))
        first = last + 1
    return edits


def apply(text: bytes, edits: Iterable[Edit]) -> bytes:
    """``text`` after the edits. One that lies in what another takes away has nothing left to do."""
    parts: list[bytes] = []
    copied = 0
    for edit in sorted(edits):
        if edit.start < copied:
            continue
        parts += (text[copied : edit.start], edit.new)
        copied = edit.end
    if not parts:
        return text
    parts.append(text[copied:])
    return b"".join(parts)
