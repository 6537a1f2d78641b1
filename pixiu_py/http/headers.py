"""Header fields as raw bytes: order, case and repetition are kept, because they are the client's or the endpoint's own.

Names compare without regard to case (RFC 9110 §5.1). Values are bytes on the wire and ``str`` for filters, decoded as
UTF-8 with surrogate escapes so that every byte survives the round trip.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

Raw = tuple[bytes, bytes]

#: Fields that concern one connection only (RFC 9110 §7.6.1), and what proxies add to that list.
HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)


class Headers:
    """The header fields of one message.

    ``index`` may be given as a ready-made case-insensitive mapping of the same fields; it serves look-ups until the
    first change.
    """

    __slots__ = ("_index", "_raw")

    def __init__(self, raw: Iterable[Raw] = (), index: Mapping[str, str] | None = None) -> None:
        self._raw: list[Raw] | tuple[Raw, ...] = raw if isinstance(raw, (list, tuple)) else list(raw)
        self._index = index

    @classmethod
    def of(cls, fields: Mapping[str, str]) -> Headers:
        """Headers from plain strings."""
        return cls([(encode(name), encode(value)) for name, value in fields.items()])

    @property
    def raw(self) -> list[Raw] | tuple[Raw, ...]:
        """The fields as they will be written. Not to be changed."""
        return self._raw

    def get(self, name: str, default: str | None = None) -> str | None:
        """The first value of ``name``."""
        if self._index is not None:
            return self._index.get(name, default)
        wanted = encode(name).lower()
        for key, value in self._raw:
            if key.lower() == wanted:
                return decode(value)
        return default

    def getall(self, name: str) -> list[str]:
        """Every value of ``name``, in order."""
        wanted = encode(name).lower()
        return [decode(value) for key, value in self._raw if key.lower() == wanted]

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    def __len__(self) -> int:
        return len(self._raw)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter([(decode(key), decode(value)) for key, value in self._raw])

    def add(self, name: str, value: str) -> None:
        """Append a field, keeping those of the same name. Raises ``ValueError`` for a value that would split the head."""
        self._index = None
        self._raw = [*self._raw, (_checked(name), _checked(value))]

    def set(self, name: str, value: str) -> None:
        """Replace every field of that name by one. Raises ``ValueError`` as ``add`` does, and then nothing is lost."""
        field = (_checked(name), _checked(value))
        self.remove(name)
        self._raw = [*self._raw, field]

    def remove(self, *names: str) -> None:
        """Drop every field of these names."""
        wanted = {encode(name).lower() for name in names}
        self._index = None
        self._raw = [(key, value) for key, value in self._raw if key.lower() not in wanted]

    def copy(self) -> Headers:
        """An independent copy."""
        return Headers(list(self._raw))

    def __repr__(self) -> str:
        names = ", ".join(decode(key) for key, _ in self._raw)
        return f"<Headers {names}>"  # values may be credentials


def connection_named(raw: Iterable[Raw]) -> set[bytes]:
    """The lower-case field names that the ``Connection`` fields declare hop-by-hop."""
    named: set[bytes] = set()
    for key, value in raw:
        if key.lower() == b"connection":
            named.update(token.strip().lower() for token in value.split(b","))
    return named


def end_to_end(raw: Iterable[Raw], drop: frozenset[bytes] = frozenset()) -> list[Raw]:
    """The fields that may be passed on: without hop-by-hop ones, those ``Connection`` names, and ``drop`` (lower case)."""
    fields = list(raw)
    kept = []
    named: set[bytes] | None = None
    for field in fields:
        key = field[0].lower()
        if key in HOP_BY_HOP:
            if key == b"connection" and named is None:
                named = connection_named(fields) - {b"close", b"keep-alive"}
            continue
        if key not in drop:
            kept.append(field)
    if named:
        kept = [field for field in kept if field[0].lower() not in named]
    return kept


def encode(text: str) -> bytes:
    """Header text to wire bytes."""
    return text.encode("utf-8", "surrogateescape")


def decode(data: bytes) -> str:
    """Wire bytes to header text."""
    return data.decode("utf-8", "surrogateescape")


def _checked(text: str) -> bytes:
    data = encode(text)
    if b"\r" in data or b"\n" in data or b"\0" in data:
        raise ValueError("a header field cannot contain CR, LF or NUL")
    return data
