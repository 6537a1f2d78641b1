"""The rule of the prefix index, as a pure function."""

from __future__ import annotations

import pytest

from pixiu_py.errors import PluginError
from pixiu_py.plugins import build_registry
from pixiu_py.stores.promptcache.base import TIERS, Entry, IndexRef, Tier, Write, longer, merged, steps
from pixiu_py.stores.promptcache.memory import MemoryIndex, MemoryIndexConfig

HASH = b"h" * 32
NOW = 1_000_000.0


def write(tier: Tier, tokens: int = 7) -> Write:
    return Write(HASH, tokens, tier)


def test_a_new_entry_lives_as_long_as_its_tier_from_the_commit_on() -> None:
    for tier, seconds in TIERS.items():
        assert merged(None, write(tier), NOW, slide=False) == Entry(HASH, 7, tier, NOW + seconds)


def test_a_live_entry_is_upgraded_by_a_longer_tier() -> None:
    """A marker of 1h on what is cached for 5m is not lost."""
    old = Entry(HASH, 7, "5m", NOW + 1)
    for slide in (True, False):
        assert merged(old, write("1h"), NOW, slide=slide) == Entry(HASH, 7, "1h", NOW + 3600)


def test_a_live_entry_is_never_shortened() -> None:
    """A marker of 5m on what is cached for 1h extends it by its own hour; an older clock takes nothing away."""
    old = Entry(HASH, 7, "1h", NOW + 10)
    assert merged(old, write("5m"), NOW, slide=False) == Entry(HASH, 7, "1h", NOW + 3600)
    later = Entry(HASH, 7, "5m", NOW + 299)
    assert merged(later, write("5m"), NOW - 100, slide=True).expires_at == NOW + 299


def test_a_slide_keeps_the_count_and_a_write_replaces_it() -> None:
    old = Entry(HASH, 7, "5m", NOW + 1)
    assert merged(old, write("5m", 9), NOW, slide=True).tokens == 7
    assert merged(old, write("5m", 9), NOW, slide=False).tokens == 9


def test_what_is_over_is_stored_anew() -> None:
    """Its last moment included; the old tier does not come back with it."""
    old = Entry(HASH, 7, "24h", NOW)
    for slide in (True, False):
        assert merged(old, write("5m", 9), NOW, slide=slide) == Entry(HASH, 9, "5m", NOW + 300)


def test_the_longer_tier() -> None:
    assert longer("5m", "1h") == longer("1h", "5m") == "1h"
    assert longer("24h", "1h") == "24h"


def test_steps_name_each_hash_once_and_in_order() -> None:
    """Of several the longest tier and the last count; what is written is no slide."""
    a, b = b"a" * 32, b"b" * 32
    assert steps([Write(b, 5, "5m"), Write(b, 6, "5m")], [Write(b, 4, "1h"), Write(a, 1, "5m")]) == [
        (Write(a, 1, "5m"), True),
        (Write(b, 6, "1h"), False),
    ]
    assert steps([], []) == []


def test_an_index_is_made_from_its_reference() -> None:
    registry = build_registry()
    index = IndexRef(name="memory", config=MemoryIndexConfig(max_entries=3)).make(registry)
    assert isinstance(index, MemoryIndex)
    assert index.config.max_entries == 3
    with pytest.raises(PluginError, match="prefix index is named 'nothing'"):
        IndexRef(name="nothing").make(registry)
