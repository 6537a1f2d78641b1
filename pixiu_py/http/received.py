"""The fields of a head as they came, shared by all messages with that head, and what has been made of them.

What goes on of a head, and how it looks without what a filter withholds or with what it gives, is worked out once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from multidict import CIMultiDict, MultiMapping

from pixiu_py.http.headers import Headers, Raw, decode, encode

#: The usual values of Connection, which name no field.
_PLAIN_CONNECTION = frozenset(("keep-alive", "Keep-Alive", "close", "Close", "Upgrade", "upgrade"))
#: How many ways of changing one head are remembered.
_MOST_CHANGES = 16


class Fields:
    """What filters give to many messages: ``raw`` in place of every field with one of ``names``, which are in lower case."""

    __slots__ = ("names", "raw")

    def __init__(self, raw: Iterable[Raw], names: Iterable[bytes]) -> None:
        self.raw = tuple(raw)
        self.names = frozenset(names)


class Shape:
    """What heads have in common that differ in the values of some of their fields."""

    __slots__ = ("onward", "raw")

    def __init__(self, raw: Iterable[Raw], places: Collection[int]) -> None:
        """The fields of one of them, of which those in ``places`` differ; each of these may be passed on."""
        #: The fields as patterns for ``%``.
        self.raw = tuple(
            [
                (name.replace(b"%", b"%%"), b"%b" if place in places else value.replace(b"%", b"%%"))
                for place, (name, value) in enumerate(raw)
            ]
        )
        #: What goes on of them, as whoever passes them on has it ready: a pattern too.
        self.onward: Any = None


class Received:
    """The fields of a head as they came. Messages with the same head share it, and what has been made of it."""

    __slots__ = ("_changed", "index", "notes", "onward", "raw", "shape", "values", "without_onward")

    def __init__(self, raw: Sequence[Raw], index: Mapping[str, str] | None = None) -> None:
        self.raw = raw
        #: A ready-made case-insensitive mapping of the same fields.
        self.index = index
        #: If the head is one of many: what they have in common, and its own values.
        self.shape: Shape | None = None
        self.values: tuple[bytes, ...] = ()
        #: What goes on of them, as whoever passes them on has it ready. Made at the first use.
        self.onward: Any = None
        #: What filters have found out about messages with this head, each under itself. The length of a body is no part of it.
        self.notes: dict[object, Any] = {}
        #: By a name, without it; by fields, with them.
        self._changed: dict[str | Fields, Received] = {}
        #: The first that was made ``without`` a name. Heads that differ in their length only share this, for ``onward``.
        self.without_onward: dict[str, Received] = {}

    def headers(self) -> Headers:
        """The fields, for one message to change."""
        return Headers(self.raw, self.index, self)

    def without(self, name: str) -> Received:
        """The same head without the fields of one name. Made once; ``name`` is one of a few that a filter knows."""
        found = self._changed.get(name)
        if found is None:
            wanted = encode(name).lower()
            raw = tuple([field for field in self.raw if field[0].lower() != wanted])
            index = None if self.index is None else CIMultiDict((decode(key), decode(value)) for key, value in raw)
            found = self._remember(name, Received(raw, index))
            found.onward = self.without_onward.setdefault(name, found).onward
        return found

    def having(self, fields: Fields) -> Received:
        """The same head with ``fields``. Made once, as long as ``fields`` is one object."""
        found = self._changed.get(fields)
        if found is None:
            names = fields.names
            kept = [field for field in self.raw if field[0].lower() not in names]
            found = self._remember(fields, Received((*kept, *fields.raw)))
        return found

    def with_values(self, places: Iterable[int], values: Iterable[bytes]) -> Received:
        """A head of its own, with these values in the fields at these places: nothing that was found out is kept."""
        raw = list(self.raw)
        for place, value in zip(places, values, strict=True):
            raw[place] = (raw[place][0], value)
        return Received(tuple(raw))

    def with_length(self, place: int, digits: bytes) -> Received:
        """The same head with another Content-Length, the field at ``place``: it is no part of what goes on."""
        other = self.with_values((place,), (digits,))
        other.onward = self.onward
        other.without_onward = self.without_onward
        other.notes = self.notes
        return other

    def _remember(self, change: str | Fields, made: Received) -> Received:
        if len(self._changed) >= _MOST_CHANGES:
            self._changed.clear()
        self._changed[change] = made
        return made


def received(raw: tuple[Raw, ...], index: MultiMapping[str]) -> Received:
    """The fields of a message as the parser gives them, without those that its ``Connection`` fields name.

    They are dropped at once (RFC 9110 §7.6.1), so that nobody can name, and thereby remove, what a filter adds later.
    """
    for value in index.getall("Connection", ()):
        if value not in _PLAIN_CONNECTION:
            return Received(_without_named(raw, index))
    return Received(raw, index)


def _without_named(raw: tuple[Raw, ...], index: MultiMapping[str]) -> list[Raw]:
    values = ",".join(index.getall("Connection", ()))
    named = {token.strip().lower() for token in encode(values).split(b",")} - {b"connection"}
    return [field for field in raw if field[0].lower() not in named]
