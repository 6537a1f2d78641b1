"""The lines of a response's head that do not depend on the client's connection: status, date, and the fields that go on.

Pure. Nearly all of them have been made before: for the status, for the second, or for the head of the endpoint's answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from pixiu_py.http.headers import DATE, LENGTH, REQUEST_ID, Headers, Raw, encode, kind_of
from pixiu_py.http.received import Shape

#: By status and reason phrase, which may be left out.
_STATUS_LINES = {
    (status.value, reason): f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode("ascii")
    for status in HTTPStatus
    for reason in (status.phrase, "")
}
#: What no reason phrase has (RFC 9112 section 4); aiohttp's parser takes it of an endpoint.
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


@lru_cache(maxsize=2)
def date_line(second: int) -> bytes:
    """The Date field of a second of Unix time, made once for all responses of that second."""
    return b"Date: %b\r\n" % formatdate(second, usegmt=True).encode("ascii")


def status_line(status: int, reason: str) -> bytes:
    """The first line of a response, with the endpoint's reason phrase if it gave one."""
    usual = _STATUS_LINES.get((status, reason))
    return usual if usual is not None else b"HTTP/1.1 %d %b\r\n" % (status, _CONTROL.sub(b" ", encode(reason)))


class Relayed:
    """The fields of a response that go on to the client: those that concern the connection are left out."""

    __slots__ = ("block", "dated", "identified")

    def __init__(self, raw: Sequence[Raw]) -> None:
        lines = []
        #: Whether there is a Date among them, and a request's id.
        self.dated = self.identified = False
        for field in raw:
            kind = kind_of(field[0])
            if kind < LENGTH:
                lines.append(b"%b: %b\r\n" % field)
                if kind:
                    self.dated = self.dated or kind == DATE
                    self.identified = self.identified or kind == REQUEST_ID
        self.block = b"".join(lines)

    def with_values(self, values: tuple[bytes, ...]) -> Relayed:
        """These fields, which are a pattern, with ``values`` in it."""
        filled = Relayed(())
        filled.block = self.block % values
        filled.dated = self.dated
        filled.identified = self.identified
        return filled

    def with_fields(self, raw: Sequence[Raw], block: bytes) -> Relayed:
        """These fields and some more, of which ``block`` is the text."""
        both = Relayed(())
        both.block = self.block + block
        kinds = [kind_of(field[0]) for field in raw]
        both.dated = self.dated or DATE in kinds
        both.identified = self.identified or REQUEST_ID in kinds
        return both


def _of_shape(shape: Shape, values: tuple[bytes, ...]) -> Relayed:
    """The greater part is made once for all heads of one shape."""
    pattern: Relayed | None = shape.onward
    if pattern is None:
        pattern = shape.onward = Relayed(shape.raw)
    return pattern.with_values(values)


def relayed(headers: Headers) -> Relayed:
    """What goes on of these fields. Made once for all responses with the same head, as long as no filter changes it."""
    origin = headers.origin
    if origin is None:
        return Relayed(headers.raw)
    known: Relayed | None = origin.onward
    if known is None:
        shape = origin.shape
        known = origin.onward = Relayed(origin.raw) if shape is None else _of_shape(shape, origin.values)
    if not headers.appended:
        return known
    return known.with_fields(headers.added, headers.appended)
