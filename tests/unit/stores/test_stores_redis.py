"""What the Redis store adds to the contract: names that others can find, times that Redis keeps, and sharing."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from pixiu_py.config.types import Secret
from pixiu_py.stores.redis import RedisConfig, RedisStore
from tests.fakes.services import redis_server


@pytest.fixture
async def stores() -> AsyncIterator[tuple[RedisStore, RedisStore]]:
    """Two that share a real Redis and its keys."""
    with redis_server() as server:
        one, two = (RedisStore(RedisConfig(url=Secret(server.url), prefix="p:", timeout=10.0)) for _ in range(2))
        await one.start()
        await two.start()
        yield one, two
        await one.close()
        await two.close()


async def test_what_one_wrote_the_other_reads(stores: tuple[RedisStore, RedisStore]) -> None:
    """And only one of them can be first."""
    one, two = stores
    await one.set("k", b"1")
    assert await two.swap("k", b"1", b"2")
    assert not await one.swap("k", b"1", b"3")
    assert await one.get("k") == b"2"


async def test_keys_have_their_prefix_and_their_time_in_redis_itself(stores: tuple[RedisStore, RedisStore]) -> None:
    """So that Redis drops them in time also when this process has gone, and other users of it are left alone."""
    store, _ = stores
    ask = store._link.ask
    await store.set("set", b"1", ttl=90.0005)
    await store.set("kept", b"1")
    await store.add("add", b"1", ttl=90)
    await store.increment("count", ttl=90)
    await store.swap("kept", b"1", b"2", ttl=90)
    for key in ("set", "add", "count", "kept"):
        assert 80_000 < await ask("PTTL", f"p:{key}") <= 90_001
    await store.increment("count", ttl=900)
    assert await ask("PTTL", "p:count") <= 90_000
    await store.set("set", b"2")
    assert await ask("PTTL", "p:set") == -1
    await ask("SET", "other:set", b"3")
    assert {key async for key, _ in store.scan("")} == {"set", "add", "count", "kept"}


async def test_scripts_that_redis_has_forgotten_are_sent_again(stores: tuple[RedisStore, RedisStore]) -> None:
    store, _ = stores
    await store.increment("n")
    await store._link.ask("SCRIPT", "FLUSH")
    assert await store.increment("n") == 2
