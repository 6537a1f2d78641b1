"""What databases refuse is replaced, and nothing else."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixiu_py.stores.text import storable


@pytest.mark.parametrize("text", ["", "gpt-4o", "模型\U0001f600", "two\nlines\t", "x" * 50])
def test_a_decent_text_stays_as_it_is(text: str) -> None:
    assert storable(text, 50) == text


def test_what_cannot_be_stored_is_replaced_and_stays_different() -> None:
    assert storable("a\x00b", 50).startswith("a\ufffdb#")
    found = {storable(text, 50) for text in ("a\x00", "a\ud800", "a\ud801", "a\ufffd")}
    assert len(found) == 4


def test_a_long_text_is_cut_and_stays_different() -> None:
    one, two = storable("x" * 51, 50), storable("x" * 52, 50)
    assert len(one) == len(two) == 50
    assert one != two


@given(st.text(st.characters(codec=None)))  # type: ignore[arg-type]
def test_every_text_can_be_stored(text: str) -> None:
    stored = storable(text, 40)
    assert len(stored) <= 40
    assert "\x00" not in stored
    with sqlite3.connect(":memory:") as connection:
        assert connection.execute("SELECT ?", (stored,)).fetchone() == (stored,)
    connection.close()
