"""A configuration document as a tree of values that know where they were written.

``document.py`` makes it from YAML, ``decode.py`` turns it into models. Lines and columns count from 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping as Map
from dataclasses import dataclass, field
from typing import Any, TypeAlias

#: (line, column)
Place: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Scalar:
    """A string, number, boolean or null. ``source`` is where the text came from, if not from the file itself."""

    place: Place
    value: str | int | float | bool | None
    text: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    place: Place
    items: list[Node]


@dataclass(frozen=True, slots=True)
class Mapping:
    """A mapping. Keys are texts as they are written: ``on`` and ``8080`` are keys like any other."""

    place: Place
    items: dict[str, Node] = field(default_factory=dict)
    keys: dict[str, Place] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A value that could not be had; the problem has been reported where it arose."""

    place: Place


Node: TypeAlias = Scalar | Sequence | Mapping | Unreadable


def plain(node: Node) -> Any:
    """The value without its places: what ``json.loads`` would give."""
    match node:
        case Scalar():
            return node.value
        case Sequence():
            return [plain(item) for item in node.items]
        case Mapping():
            return {key: plain(item) for key, item in node.items.items()}
        case Unreadable():
            return None


def from_plain(value: Any, place: Place) -> Node:
    """The tree of a value that stands in no file, such as a default; all of it is at ``place``."""
    if isinstance(value, Map):
        items = {str(key): from_plain(item, place) for key, item in value.items()}
        return Mapping(place, items, dict.fromkeys(items, place))
    if isinstance(value, list | tuple):
        return Sequence(place, [from_plain(item, place) for item in value])
    return Scalar(place, value, str(value))


def from_outside(node: Node) -> Iterator[Scalar]:
    """The non-empty values in ``node`` that came from the environment or a file."""
    match node:
        case Scalar(source=source, text=text) if source and text:
            yield node
        case Sequence():
            for item in node.items:
                yield from from_outside(item)
        case Mapping():
            for item in node.items.values():
                yield from from_outside(item)
        case _:
            return


def noun(node: Node) -> str:
    """What a node is, for ``Expected …, got …``; never its text."""
    match node:
        case Scalar(value=None):
            return "null"
        case Scalar():
            return type(node.value).__name__
        case Sequence():
            return "a list"
        case Mapping() | Unreadable():
            return "a mapping"
