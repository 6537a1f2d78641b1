"""A head that differs in its fields is the same in all else."""

from __future__ import annotations

from pixiu_py.http.message_head import MessageHead
from pixiu_py.http.received import Received


class Letter(MessageHead):
    """A head with one thing more."""

    __slots__ = ("stamp",)


def test_head_with_other_fields_keeps_all_else() -> None:
    """And is another one: the first stays as it was."""
    first = Letter()
    first.fields, first.length, first.stamp = Received(()), 1, object()
    fields = Received(((b"a", b"b"),))
    other = first.with_fields(fields, 2)
    assert type(other) is Letter
    assert (other.fields, other.length, other.stamp) == (fields, 2, first.stamp)
    assert (len(first.fields.raw), first.length) == (0, 1)
