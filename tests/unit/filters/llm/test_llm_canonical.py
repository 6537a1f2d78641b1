"""One spelling for each value: what does not change its meaning does not change its bytes."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixiu_py.filters.llm.canonical import canonical, canonical_deep

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


def test_keys_are_in_the_order_of_their_bytes_at_every_depth() -> None:
    assert (
        canonical({"b": 1, "a": {"z": [{"y": 1, "x": 2}], "ä": 1}})
        == '{"a":{"z":[{"x":2,"y":1}],"ä":1},"b":1}'.encode()
    )


def test_nothing_is_escaped_that_need_not_be() -> None:
    assert canonical("é\n\x01/") == '"é\\n\\u0001/"'.encode()


@given(VALUES)
def test_both_ways_of_writing_agree(value: object) -> None:
    """The one for deep values writes the same bytes."""
    value = orjson.loads(orjson.dumps(value))
    assert canonical_deep(value) == canonical(value)


@pytest.mark.parametrize("depth", [100, 254, 255, 1000])
def test_depth_is_no_limit(depth: int) -> None:
    """Whatever orjson can read can be written: it writes less deep than it reads."""
    content = b'{"a":[' * (depth // 2) + b"1" + b"]}" * (depth // 2)
    assert canonical(orjson.loads(content)) == content


@given(VALUES)
def test_it_means_the_same(value: object) -> None:
    read = orjson.loads(orjson.dumps(value))
    assert json.loads(canonical(read)) == read
