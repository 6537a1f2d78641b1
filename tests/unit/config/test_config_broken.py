"""A config is whole, or it is known where it is not: rules are checked on what could be decoded only."""

from __future__ import annotations

from typing import Any

import pytest

from pixiu_py.config.broken import BROKEN, whole
from pixiu_py.config.model import Address, SocketAddress


@pytest.mark.parametrize("value", [None, 0, "", [], {}, [1, {"a": [2]}], Address()])
def test_what_could_be_decoded_is_whole(value: Any) -> None:
    """Nothing, too, is a value."""
    assert whole(value)


@pytest.mark.parametrize(
    "value",
    [
        BROKEN,
        [1, BROKEN],
        {"a": {"b": BROKEN}},
        Address(socket_address=BROKEN),
        [Address(socket_address=SocketAddress(port=BROKEN))],
    ],
)
def test_what_is_broken_is_found_however_deep_it_is(value: Any) -> None:
    """In lists, maps and blocks."""
    assert not whole(value)
