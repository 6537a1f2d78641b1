"""Of several instances the one that holds most."""

from __future__ import annotations

from pixiu_py.filters.ai.kvcache.controller import Held
from pixiu_py.filters.ai.kvcache.index.remote import longest


def test_longest() -> None:
    """Where to pin."""
    assert longest({}) is None
    assert longest({"a": Held(1), "b": Held(3), "c": Held(2)}) == ("b", Held(3))
