"""The contract of a store, over each backend that is registered."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from pixiu_py.plugins import build_registry
from pixiu_py.registry import Family
from pixiu_py.stores.base import Store

REGISTRY = build_registry(None)


@pytest.fixture(params=REGISTRY.kinds(Family.STORE))
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    entry = REGISTRY.find(Family.STORE, request.param)
    assert entry is not None
    made: Store = entry.cls(entry.cls.Config())
    await made.start()
    yield made
    await made.close()


async def test_what_was_set_is_there_until_it_is_deleted(store: Store) -> None:
    assert await store.get("k") is None
    await store.set("k", b"\x00\xff")
    assert await store.get("k") == b"\x00\xff"
    await store.set("k", b"")
    assert await store.get("k") == b""
    await store.delete("k")
    await store.delete("k")
    assert await store.get("k") is None


async def test_only_one_can_add(store: Store) -> None:
    assert await store.add("k", b"1")
    assert not await store.add("k", b"2")
    assert await store.get("k") == b"1"


async def test_swap_needs_the_value_it_knows(store: Store) -> None:
    assert not await store.swap("k", b"1", b"2")
    await store.set("k", b"1")
    assert not await store.swap("k", b"other", b"2")
    assert await store.swap("k", b"1", b"2")
    assert await store.get("k") == b"2"


async def test_numbers_begin_at_nothing(store: Store) -> None:
    assert [await store.increment("n"), await store.increment("n", 5), await store.increment("n", -2)] == [1, 6, 4]
    assert await store.get("n") == b"4"


async def test_scan_finds_a_prefix_and_nothing_else(store: Store) -> None:
    for key in ("a:1", "a:2", "ab", "b:1"):
        await store.set(key, key.encode())
    assert sorted([entry async for entry in store.scan("a:")]) == [("a:1", b"a:1"), ("a:2", b"a:2")]


async def test_times_to_live_that_are_long_enough_are_kept(store: Store) -> None:
    await store.set("k", b"1", ttl=60)
    assert await store.add("a", b"1", ttl=60)
    assert await store.increment("n", ttl=60) == 1
    assert await store.get("k") == await store.get("a") == b"1"
