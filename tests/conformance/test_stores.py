"""The contract of a store, over each backend that is registered."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from pixiu_py.config.types import Secret
from pixiu_py.plugins import build_registry
from pixiu_py.registry import Family
from pixiu_py.stores.base import Store, StoreError
from tests.fakes.services import redis_server

REGISTRY = build_registry(None)


@pytest.fixture(scope="module")
def redis_url() -> Iterator[Secret]:
    """One real Redis for all tests of this module."""
    with redis_server() as server:
        yield Secret(server.url)


@pytest.fixture(params=REGISTRY.kinds(Family.STORE))
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """An empty store of each kind. A kind that needs something to run gets it here."""
    entry = REGISTRY.find(Family.STORE, request.param)
    assert entry is not None
    keys: dict[str, Any] = {}
    if request.param == "redis":
        keys = {"url": request.getfixturevalue("redis_url"), "prefix": f"{uuid.uuid4()}:", "timeout": 10.0}
    made: Store = entry.cls(entry.cls.Config(**keys))
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


async def test_a_time_to_live_of_a_fraction_of_a_second_is_kept_and_ends(store: Store) -> None:
    """Whatever the unit of the backend: it is neither none at once nor for ever."""
    await store.set("k", b"1", ttl=0.05)
    await store.set("tiny", b"1", ttl=0.000_01)
    await store.set("whole", b"1")
    assert await store.swap("whole", b"1", b"2", ttl=0.05)
    assert await store.add("a", b"1", ttl=0.05)
    assert await store.increment("n", 7, ttl=0.05) == 7
    async with asyncio.timeout(5):
        while any([await store.get(key) is not None for key in ("k", "tiny", "whole", "a", "n")]):
            await asyncio.sleep(0.01)
    assert await store.add("a", b"2")
    assert await store.increment("n") == 1


async def test_a_value_set_anew_lives_anew(store: Store) -> None:
    """Its time is the one it was set with last, and without one it stays."""
    await store.set("k", b"1", ttl=0.02)
    await store.set("k", b"2")
    await store.set("later", b"1", ttl=0.02)
    async with asyncio.timeout(5):
        while await store.get("later") is not None:
            await asyncio.sleep(0.01)
    assert await store.get("k") == b"2"


async def test_what_is_no_number_cannot_be_counted_up(store: Store) -> None:
    """It is an error of the store, and the value is left alone."""
    await store.set("k", b"one")
    with pytest.raises(StoreError):
        await store.increment("k")
    assert await store.get("k") == b"one"


async def test_any_text_is_a_key(store: Store) -> None:
    """Separators, wildcards, halves of surrogate pairs, long ones: each is its own entry, found by its prefix alone."""
    keys = ["a*b", "a?b", "axb", "a[x]b", "a\\b", "\ud800", "ä\n\0", "l" * 5000, ""]
    for number, key in enumerate(keys):
        await store.set("p:" + key, b"%d" % number)
    assert [await store.get("p:" + key) for key in keys] == [b"%d" % number for number in range(len(keys))]
    assert [entry async for entry in store.scan("p:a*")] == [("p:a*b", b"0")]
    assert [entry async for entry in store.scan("p:a[x]")] == [("p:a[x]b", b"3")]
    assert {key async for key, _ in store.scan("p:")} == {"p:" + key for key in keys}


async def test_scan_finds_many(store: Store) -> None:
    """More than one step of any backend."""
    for number in range(1200):
        await store.set(f"many:{number}", b"")
    assert {key async for key, _ in store.scan("many:")} == {f"many:{number}" for number in range(1200)}


async def test_of_many_at_once_one_swaps(store: Store) -> None:
    """Compare and swap is one step: no two callers both believe that they were first."""
    await store.set("k", b"0")
    won = await asyncio.gather(*(store.swap("k", b"0", b"%d" % number) for number in range(1, 50)))
    assert sum(won) == 1
    added = await asyncio.gather(*(store.add("new", b"") for _ in range(50)))
    assert sum(added) == 1
    await asyncio.gather(*(store.increment("n", 2) for _ in range(50)))
    assert await store.get("n") == b"100"
