"""Header fields as raw bytes: order, case and repetition are kept, because they are the client's or the endpoint's own.

Names compare without regard to case (RFC 9110 §5.1). Values are bytes on the wire and ``str`` for filters, decoded as
UTF-8 with surrogate escapes so that every byte survives the round trip.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pixiu_py.http.received import Fields, Received

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

# What a field is to a gateway, as numbers in one order, so that "may be passed on" is a single comparison.
PLAIN, DATE, REQUEST_ID, CREDENTIAL, HOST, EXPECT, LENGTH, HOP = range(8)

_KINDS = {
    b"date": DATE,
    b"x-request-id": REQUEST_ID,
    b"authorization": CREDENTIAL,
    b"x-api-key": CREDENTIAL,
    b"api-key": CREDENTIAL,
    b"x-goog-api-key": CREDENTIAL,
    b"host": HOST,
    b"expect": EXPECT,
    b"content-length": LENGTH,
    **dict.fromkeys(HOP_BY_HOP, HOP),
}


# A name may have 64 KiB, so that there is not room for many.
@lru_cache(maxsize=256)
def kind_of(name: bytes) -> int:
    """What the field ``name`` is to a gateway. Remembered: the same few names come in every message.

    A space may stand behind it: aiohttp's parser takes ``Content-Length : 5`` of an endpoint, and means it (RFC 9112 §5.1).
    """
    return _KINDS.get(name.rstrip(b" ").lower(), PLAIN)


#: Asks for a body as it is.
_IDENTITY: Raw = (b"Accept-Encoding", b"identity")


class Headers:
    """The header fields of one message.

    ``index`` may be given as a ready-made case-insensitive mapping of the same fields; it serves look-ups until the
    first change. So does ``origin``, for those who pass the fields on: None once anything but ``append`` has changed them.
    """

    __slots__ = ("_index", "_raw", "added", "appended", "origin")

    def __init__(
        self, raw: Iterable[Raw] = (), index: Mapping[str, str] | None = None, origin: Received | None = None
    ) -> None:
        #: None: those of ``origin``, then ``added``; nobody has asked yet.
        self._raw: Sequence[Raw] | None = raw if isinstance(raw, (list, tuple)) else list(raw)
        self._index = index
        self.origin = origin
        #: The fields that stand behind those of ``origin``, and their lines.
        self.added: tuple[Raw, ...] = ()
        self.appended = b""

    @property
    def raw(self) -> Sequence[Raw]:
        """The fields as they will be written. Replaced whole by every change, never changed in place."""
        raw = self._raw
        if raw is None:
            origin = self.origin
            raw = self._raw = self.added if origin is None else (*origin.raw, *self.added)
        return raw

    @classmethod
    def of(cls, fields: Mapping[str, str]) -> Headers:
        """Headers from plain strings."""
        return cls([(encode(name), encode(value)) for name, value in fields.items()])

    def get(self, name: str, default: str | None = None) -> str | None:
        """The first value of ``name``."""
        if self._index is not None:
            found = self._index.get(name)
            if found is not None or not self.appended:
                return default if found is None else found
        wanted = encode(name).lower()
        for key, value in self.raw:
            if key.lower() == wanted:
                return decode(value)
        return default

    def getall(self, name: str) -> list[str]:
        """Every value of ``name``, in order."""
        wanted = encode(name).lower()
        return [decode(value) for key, value in self.raw if key.lower() == wanted]

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    def __len__(self) -> int:
        return len(self.raw)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter([(decode(key), decode(value)) for key, value in self.raw])

    def add(self, name: str, value: str) -> None:
        """Append a field, keeping those of the same name. Raises ``ValueError`` for a value that would split the head."""
        field = (_checked(name), _checked(value))
        self._replace([*self.raw, field])

    def append(self, field: Raw) -> None:
        """Append a field that is known to be well-formed. Cheap: what is known of the others stays known."""
        if self.origin is None or kind_of(field[0]) >= CREDENTIAL:
            self._replace([*self.raw, field])
        else:
            self.appended += b"%b: %b\r\n" % field
            self.added += (field,)
            self._raw = None

    def set(self, name: str, value: str) -> None:
        """Replace every field of that name by one. Raises ``ValueError`` as ``add`` does, and then nothing is lost."""
        field = (_checked(name), _checked(value))
        self.remove(name)
        self._replace([*self.raw, field])

    def remove(self, *names: str) -> None:
        """Drop every field of these names."""
        wanted = {encode(name).lower() for name in names}
        self._replace([field for field in self.raw if field[0].lower() not in wanted])

    def withhold(self, name: str) -> None:
        """Drop every field of one name. Cheap for a head that comes again, where ``remove`` makes it one of its own."""
        origin = self.origin
        if origin is None:
            self.remove(name)
            return
        for key, _ in self.added:
            if len(key) == len(name) and key.lower() == encode(name).lower():
                self.remove(name)
                return
        self.stand_on(origin.without(name))

    def stand_on(self, origin: Received) -> None:
        """Take another head in place of ``origin``; what was appended stays."""
        self.origin = origin
        self._index = origin.index
        self._raw = None

    def take(self, name: str) -> str | None:
        """The first value of ``name``, which is withheld from then on."""
        value = self.get(name)
        if value is not None:
            self.withhold(name)
        return value

    def put(self, fields: Fields) -> None:
        """Put ``fields`` in place of what has their names. Cheap for a head that comes again."""
        origin = self.origin
        if origin is None or self.appended:
            self._replace([*(field for field in self.raw if field[0].lower() not in fields.names), *fields.raw])
            return
        self.origin = origin.having(fields)
        self._raw = self._index = None

    def _replace(self, raw: list[Raw]) -> None:
        self._raw = raw
        self._index = self.origin = None
        self.added = ()
        self.appended = b""

    def ask_plain(self) -> None:
        """Of a request: ask for a body that is not compressed, where it asks for another (RFC 9110 §12.5.3)."""
        if self.get("accept-encoding", "identity") != "identity":
            self.withhold("accept-encoding")
            self.append(_IDENTITY)

    def copy(self) -> Headers:
        """An independent copy."""
        return Headers(list(self.raw))

    def __repr__(self) -> str:
        names = ", ".join(decode(key) for key, _ in self.raw)
        return f"<Headers {names}>"  # values may be credentials


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
