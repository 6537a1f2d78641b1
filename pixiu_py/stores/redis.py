"""The store in Redis: shared by workers and machines, and it outlives them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import ClassVar

from pixiu_py.registry import Family, plugin
from pixiu_py.stores.base import Store
from pixiu_py.stores.gathered import GatheredReads
from pixiu_py.stores.redis_link import RedisLink, RedisLinkConfig, milliseconds

#: KEYS[1]; old, new, milliseconds or 0.
_SWAP = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[3] == '0' then redis.call('SET', KEYS[1], ARGV[2]) else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
return 1
"""
#: KEYS[1]; amount, milliseconds or 0. The time counts from the number's beginning.
_INCREMENT = """
local new = redis.call('EXISTS', KEYS[1]) == 0
local number = redis.call('INCRBY', KEYS[1], ARGV[1])
if new and ARGV[2] ~= '0' then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return number
"""


class RedisConfig(RedisLinkConfig, frozen=True):
    """Keys of the Redis store."""


@plugin(Family.STORE, "redis")
class RedisStore(Store):
    """Keeps entries in Redis, shared by workers and machines."""

    Config: ClassVar[type[RedisConfig]] = RedisConfig

    def __init__(self, config: RedisConfig, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(config)
        self._link = RedisLink(config, clock)
        self._reads = GatheredReads(self._values, "redis", lambda: self._link.rests)
        self._swap = self._link.script(_SWAP)
        self._increment = self._link.script(_INCREMENT)

    async def start(self) -> None:
        """See ``RedisLink.start``."""
        await self._link.start()

    async def close(self) -> None:
        """See ``Store.close``."""
        await self._reads.close()
        await self._link.close()

    async def get(self, key: str) -> bytes | None:
        """See ``Store.get``."""
        return await self._reads.get(self._link.name(key))

    async def _values(self, names: Sequence[str]) -> Sequence[bytes | None]:
        if len(names) == 1:
            return [await self._link.ask("GET", *names)]
        found: list[bytes | None] = await self._link.ask("MGET", *names)
        return found

    async def set(self, key: str, value: bytes, ttl: float = 0.0) -> None:
        """See ``Store.set``."""
        await self._link.ask("SET", self._link.name(key), value, *_expiry(ttl))

    async def add(self, key: str, value: bytes, ttl: float = 0.0) -> bool:
        """See ``Store.add``."""
        return bool(await self._link.ask("SET", self._link.name(key), value, "NX", *_expiry(ttl), twice=False))

    async def swap(self, key: str, old: bytes, new: bytes, ttl: float = 0.0) -> bool:
        """See ``Store.swap``."""
        name = self._link.name(key)
        return bool(await self._link.run(lambda: self._swap([name], [old, new, milliseconds(ttl)])))

    async def increment(self, key: str, by: int = 1, ttl: float = 0.0) -> int:
        """See ``Store.increment``."""
        name = self._link.name(key)
        number: int = await self._link.run(lambda: self._increment([name], [by, milliseconds(ttl)]))
        return number

    async def delete(self, key: str) -> None:
        """See ``Store.delete``."""
        await self._link.ask("DEL", self._link.name(key))

    async def scan(self, prefix: str) -> AsyncIterator[tuple[str, bytes]]:
        """See ``Store.scan``."""
        skipped = len(self._link.name(""))
        async for names in self._link.names(prefix):
            for name, value in zip(names, await self._link.ask("MGET", *names), strict=True):
                if value is not None:
                    yield name.decode("utf-8", "surrogatepass")[skipped:], value


def _expiry(ttl: float) -> tuple[str | int, ...]:
    return ("PX", milliseconds(ttl)) if ttl else ()
