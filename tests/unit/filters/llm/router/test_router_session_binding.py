"""What a store keeps of a conversation can be read by others, and nothing that stands there can break a request."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixiu_py.filters.llm.router.session_binding import Binding, Visit, decode, encode

BINDINGS = st.builds(
    Binding,
    st.text(min_size=1),
    st.none() | st.text(),
    st.floats(0, 1e12),
    st.text(),
    st.floats(0, 1e9),
    st.floats(0, 1e9),
    st.integers(0, 2**40),
    st.lists(st.builds(Visit, st.text(), st.floats(0, 1e12), st.integers(0, 2**40)), max_size=8).map(tuple),
)


@given(BINDINGS)
def test_every_field_comes_back(binding: Binding) -> None:
    assert decode(encode(binding)) == binding


def test_a_pin_is_two_fields() -> None:
    """Under Plano's names, so that others can read them."""
    assert orjson.loads(encode(Binding("big", "code"))) == {"model_name": "big", "route_name": "code"}
    assert orjson.loads(encode(Binding("big", None))) == {"model_name": "big", "route_name": None}


def test_other_versions_can_be_read() -> None:
    """What is missing has its default, what is not known is left alone."""
    assert decode(b'{"model_name":"big","route_name":null,"later":[1]}') == Binding("big", None)


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"null", b"[]", b'"x"', b"{}", b'{"model_name":1,"route_name":null}', b"\xff",
     b'{"model_name":"","route_name":null}', b'{"model_name":"m"}',
     b'{"model_name":"m","route_name":null,"baseline_usd":1e999}'],
)  # fmt: skip
def test_what_makes_no_sense_is_none(data: bytes) -> None:
    assert decode(data) is None


@given(st.binary())
def test_no_bytes_raise(data: bytes) -> None:
    decode(data)
