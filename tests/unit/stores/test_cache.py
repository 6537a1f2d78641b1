"""The bounded cache, through aiocache's own calls."""

from __future__ import annotations

import pytest

from pixiu_py.stores.cache import BoundedMemoryCache


class Clock:
    """A clock that stands still."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_the_one_unused_longest_goes() -> None:
    """Reading is using; writing again is no second entry."""
    cache = BoundedMemoryCache(2)
    for key in ("a", "b", "a"):
        await cache.set(key, key)
    assert cache.oldest() == ("b", "b")
    await cache.get("b")
    await cache.set("c", "c")
    assert [await cache.get(key) for key in "abc"] == [None, "b", "c"]
    assert len(cache) == 2


async def test_entries_end_with_their_time() -> None:
    """The default, one of its own, and none."""
    clock = Clock()
    cache = BoundedMemoryCache(10, ttl=5.0, clock=clock)
    await cache.set("default", 1)
    await cache.set("own", 1, ttl=9.0)
    await cache.multi_set([("x", 1), ("y", 2)], ttl=None)
    assert await cache.expire("y", 1.0)
    clock.now += 5.0
    assert await cache.multi_get(["default", "own", "x", "y"]) == [None, 1, 1, None]
    assert len(cache) == 2
    assert not await cache.exists("y")
    assert not await cache.expire("y", 9.0)


async def test_the_rest_of_the_interface() -> None:
    """Adding what is there fails, as in every backend of aiocache."""
    cache = BoundedMemoryCache(10)
    assert await cache.add("a", 1)
    with pytest.raises(ValueError, match="exists already"):
        await cache.add("a", 2)
    assert await cache.exists("a")
    assert [await cache.delete("a"), await cache.delete("a")] == [1, 0]
    assert cache.oldest() is None
    await cache.set("n:a", 1)
    await cache.set("m:a", 1)
    await cache.clear(namespace="n:")
    assert len(cache) == 1
    await cache.clear()
    assert len(cache) == 0


async def test_lengths_may_be_bounded() -> None:
    """Of values some of which are much longer than others; what is alone too long is not kept at all."""
    cache = BoundedMemoryCache(10, max_length=5)
    await cache.set("a", [1, 2])
    await cache.set("b", [1, 2, 3])
    await cache.set("a", [1])
    await cache.set("c", [1])
    assert [await cache.get(key) for key in "abc"] == [[1], [1, 2, 3], [1]]
    await cache.delete("b")
    await cache.set("d", [1, 2, 3])
    assert len(cache) == 3
    await cache.set("e", [0] * 6)
    assert len(cache) == 0
    await cache.set("f", [0] * 5)
    assert len(cache) == 1
