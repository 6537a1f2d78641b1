"""What only the memory index does: its bound, and who goes first."""

from __future__ import annotations

from pixiu_py.stores.promptcache.base import Scope, Write
from pixiu_py.stores.promptcache.memory import MemoryIndex, MemoryIndexConfig
from tests.fakes.indexes import kept

SCOPE = Scope("alice", "m", "v1")
NOW = 1_000.0
A, B, C, D = (letter * 32 for letter in (b"a", b"b", b"c", b"d"))


async def test_above_its_bound_the_one_unused_longest_is_dropped() -> None:
    """A look-up is a use."""
    index = MemoryIndex(MemoryIndexConfig(max_entries=3))
    for hash_ in (A, B, C):
        await index.commit(SCOPE, [Write(hash_, 1, "5m")], [], NOW)
    await index.lookup(SCOPE, [A], NOW)
    await index.commit(SCOPE, [Write(D, 1, "5m")], [], NOW)
    assert await kept(index) == 3
    assert set(await index.lookup(SCOPE, [A, B, C, D], NOW)) == {A, C, D}


async def test_a_commit_larger_than_the_bound_leaves_as_many_as_may_be() -> None:
    index = MemoryIndex(MemoryIndexConfig(max_entries=2))
    await index.commit(SCOPE, [Write(hash_, 1, "5m") for hash_ in (A, B, C)], [], NOW)
    assert await kept(index) == 2
