"""Which migrations a database has not seen."""

from __future__ import annotations

import pytest

from pixiu_py.errors import StartError
from pixiu_py.stores.schema import Schema

SCHEMA = Schema("c", (("one",), ("two", "three")))


def test_what_was_not_seen_comes_next() -> None:
    assert SCHEMA.unseen(0) == SCHEMA.migrations
    assert SCHEMA.unseen(1) == (("two", "three"),)
    assert SCHEMA.unseen(2) == ()


def test_a_newer_database_is_left_alone() -> None:
    with pytest.raises(StartError, match="tables of c were made by a newer version"):
        SCHEMA.unseen(3)
