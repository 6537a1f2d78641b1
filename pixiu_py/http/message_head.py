"""What the heads of requests and of responses have in common, for whoever recognises one that comes again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pixiu_py.http.received import Received


class MessageHead:
    """What the parser made of a head. Never changed once it is made; subclasses name all else that they hold in slots."""

    __slots__ = ("fields", "length")

    fields: Received
    #: Declared bytes of the body; None when its length is told in another way.
    length: int | None

    def with_fields(self, fields: Received, length: int | None) -> Self:
        """A head that differs in what no other part of it depends on."""
        kind = self.__class__
        head = kind.__new__(kind)
        for name in kind.__slots__:
            setattr(head, name, getattr(self, name))
        head.fields = fields
        head.length = length
        return head
