"""What only the Redis index does: entries go away by themselves, and with a Redis that is killed."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import redis.asyncio

from pixiu_py.config.types import Secret
from pixiu_py.stores.base import StoreError
from pixiu_py.stores.promptcache.base import Scope, Write
from pixiu_py.stores.promptcache.redis import RedisIndex, RedisIndexConfig
from tests.fakes.indexes import kept
from tests.fakes.services import Service, redis_server

SCOPE = Scope("alice", "m", "v1")
NOW = 2_000_000_000.0


@pytest.fixture
def server() -> Iterator[Service]:
    with redis_server() as service:
        yield service


async def started(server: Service, **config: Any) -> RedisIndex:
    index = RedisIndex(RedisIndexConfig(url=Secret(server.url), **config))
    await index.start()
    return index


async def test_redis_itself_forgets_what_is_over(server: Service) -> None:
    """A key lives as long as its entry, so that nothing has to be swept."""
    index = await started(server)
    await index.commit(SCOPE, [Write(b"a", 1, "5m"), Write(b"b", 1, "24h")], [], NOW)
    async with redis.asyncio.Redis.from_url(server.url) as client:
        left = sorted([await client.pttl(key) for key in await client.keys("*")])
    assert 290_000 < left[0] <= 300_000
    assert 86_390_000 < left[1] <= 86_400_000
    await index.close()


async def test_gateways_with_different_prefixes_do_not_meet(server: Service) -> None:
    one, other = await started(server, prefix="one:"), await started(server, prefix="other:")
    await one.commit(SCOPE, [Write(b"a", 1, "5m")], [], NOW)
    assert await other.lookup(SCOPE, [b"a"], NOW) == {}
    assert (await kept(one), await kept(other)) == (1, 0)
    await one.close()
    await other.close()


async def test_an_entry_that_is_none_is_an_error_and_no_entry(server: Service) -> None:
    """Something else under its name; a commit puts that right."""
    index = await started(server)
    await index.commit(SCOPE, [Write(b"a", 1, "5m")], [], NOW)
    async with redis.asyncio.Redis.from_url(server.url) as client:
        (key,) = await client.keys("*")
        await client.set(key, "nonsense")
    with pytest.raises(StoreError, match="cannot be read"):
        await index.lookup(SCOPE, [b"a"], NOW)
    await index.commit(SCOPE, [Write(b"a", 2, "5m")], [], NOW)
    assert (await index.lookup(SCOPE, [b"a"], NOW))[b"a"].tokens == 2
    await index.close()


async def test_a_redis_that_was_killed_is_used_again_when_it_is_back(server: Service) -> None:
    index = await started(server, rest=0.0)
    await index.commit(SCOPE, [Write(b"a", 1, "5m")], [], NOW)
    await asyncio.to_thread(server.stop, signal.SIGKILL)
    with pytest.raises(StoreError):
        await index.lookup(SCOPE, [b"a"], NOW)
    with pytest.raises(StoreError):
        await index.commit(SCOPE, [Write(b"a", 1, "5m")], [], NOW)
    await asyncio.to_thread(server.start)
    assert await index.lookup(SCOPE, [b"a"], NOW) == {}
    await index.commit(SCOPE, [Write(b"a", 1, "5m")], [], NOW)
    assert set(await index.lookup(SCOPE, [b"a"], NOW)) == {b"a"}
    await index.close()


async def test_a_prefix_with_the_marks_of_a_pattern_is_a_name(server: Service) -> None:
    """Only what is the index's own counts, and all of it."""
    one, other = await started(server, prefix="a[b]*:"), await started(server, prefix="ab:")
    await one.commit(SCOPE, [Write(b"a", 1, "5m")], [], NOW)
    await other.commit(SCOPE, [Write(b"a", 1, "5m"), Write(b"b", 1, "5m")], [], NOW)
    assert (await kept(one), await kept(other)) == (1, 2)
    await one.close()
    await other.close()
