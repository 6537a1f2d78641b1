"""What the memory store adds to the contract: a bound, and an end by the clock."""

from __future__ import annotations

from pixiu_py.stores.memory import MemoryConfig, MemoryStore


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def made(limit: int = 10) -> tuple[MemoryStore, Clock]:
    clock = Clock()
    return MemoryStore(MemoryConfig(max_entries=limit), clock), clock


async def test_the_entry_unused_longest_makes_room() -> None:
    store, _ = made(limit=2)
    await store.set("a", b"1")
    await store.set("b", b"1")
    await store.get("a")
    await store.set("c", b"1")
    assert len(store) == 2
    assert [await store.get(key) for key in "abc"] == [b"1", None, b"1"]


async def test_changing_an_entry_drops_no_other() -> None:
    store, _ = made(limit=2)
    await store.set("a", b"1")
    await store.set("b", b"1")
    await store.set("a", b"2")
    assert await store.increment("n") == 1
    assert len(store) == 2


async def test_entry_ends_with_its_time() -> None:
    """For every call alike."""
    store, clock = made()
    await store.set("k", b"1", ttl=5)
    clock.now += 5
    assert [entry async for entry in store.scan("")] == []
    assert await store.add("k", b"2", ttl=5)
    clock.now += 5
    assert not await store.swap("k", b"2", b"3")
    assert await store.get("k") is None


async def test_number_lives_from_its_beginning() -> None:
    """A window of a rate limit, which later counts do not prolong."""
    store, clock = made()
    await store.increment("n", ttl=5)
    clock.now += 4
    assert await store.increment("n", ttl=5) == 2
    clock.now += 1
    assert await store.increment("n", ttl=5) == 1


async def test_no_time_is_for_ever() -> None:
    store, clock = made()
    await store.set("k", b"1")
    clock.now += 1e9
    assert await store.get("k") == b"1"
