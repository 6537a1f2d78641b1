"""The prefix index in Redis: shared by several machines, expired by Redis itself, and as durable as it is configured to be.

An entry is a string ``tokens ttl expires_at`` under ``{scope digest}:hash``; the braces keep a scope on one node of a
cluster. A commit is one script, so that it is done as a whole or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, ClassVar

from pixiu_py.registry import Family, plugin
from pixiu_py.stores.base import StoreError
from pixiu_py.stores.promptcache.base import TIER_OF, TIERS, Entry, PrefixIndex, Scope, Write, steps
from pixiu_py.stores.redis_link import RedisLink, RedisLinkConfig

#: ``merged`` in Lua. KEYS: entries; ARGV: now, then for each key its tokens, ttl, and 1 for a slide. Times keep all their
#: digits. Redis forgets an entry when its time is over; whose clock is ahead finds it over before that.
_COMMIT = """
local now = tonumber(ARGV[1])
for number, key in ipairs(KEYS) do
    local tokens, ttl, slide = ARGV[3 * number - 1], tonumber(ARGV[3 * number]), ARGV[3 * number + 1]
    local expires_at = now + ttl
    local old = redis.call('GET', key)
    if old then
        local old_tokens, old_ttl, old_expires_at = string.match(old, '^(%S+) (%S+) (%S+)$')
        if old_tokens and tonumber(old_expires_at) > now then
            ttl = math.max(ttl, tonumber(old_ttl))
            expires_at = math.max(tonumber(old_expires_at), now + ttl)
            if slide == '1' then tokens = old_tokens end
        end
    end
    local left = math.max(1, math.ceil((expires_at - now) * 1000))
    redis.call('SET', key, string.format('%s %d %.17g', tokens, ttl, expires_at), 'PX', string.format('%d', left))
end
"""


class RedisIndexConfig(RedisLinkConfig, frozen=True):
    """Keys of the Redis index."""


@plugin(Family.PREFIX_INDEX, "redis")
class RedisIndex(PrefixIndex):
    """Remembers prefixes in a Redis that several machines share."""

    Config: ClassVar[type[RedisIndexConfig]] = RedisIndexConfig

    def __init__(self, config: RedisIndexConfig) -> None:
        super().__init__(config)
        self._link = RedisLink(config)
        self._commit = self._link.script(_COMMIT)

    async def start(self) -> None:
        """See ``PrefixIndex.start``."""
        await self._link.start()

    async def close(self) -> None:
        """See ``PrefixIndex.close``."""
        await self._link.close()

    async def lookup(self, scope: Scope, hashes: Sequence[bytes], now: float) -> Mapping[bytes, Entry]:
        """See ``PrefixIndex.lookup``."""
        if not hashes:
            return {}
        values = await self._link.ask("MGET", *self._keys(scope, hashes))
        found = (_entry(hash_, value) for hash_, value in zip(hashes, values, strict=True) if value is not None)
        return {entry.hash: entry for entry in found if entry.expires_at > now}

    async def commit(self, scope: Scope, writes: Sequence[Write], slides: Sequence[Write], now: float) -> None:
        """See ``PrefixIndex.commit``."""
        planned = steps(writes, slides)
        if not planned:
            return
        keys = self._keys(scope, [write.hash for write, _ in planned])
        arguments: list[str | bytes | int] = [repr(now)]
        for write, slide in planned:
            arguments += (write.tokens, TIERS[write.tier], int(slide))
        await self._link.run(lambda: self._commit(keys, arguments), twice=True)

    async def sweep(self, now: float, limit: int) -> int:
        """See ``PrefixIndex.sweep``."""
        return 0

    def _keys(self, scope: Scope, hashes: Sequence[bytes]) -> list[str]:
        """Names of entries. Parts of a scope are of any length and in any characters, and never run into each other."""
        digest = sha256()
        for text in scope:
            data = text.encode("utf-8", "surrogatepass")
            digest.update(b"%d:" % len(data) + data)
        owner = self._link.name(f"prefix:{{{digest.hexdigest()}}}:")
        return [owner + hash_.hex() for hash_ in hashes]


def _entry(hash_: bytes, value: Any) -> Entry:
    try:
        tokens, ttl, expires_at = value.split()
        return Entry(hash_, int(tokens), TIER_OF[int(ttl)], float(expires_at))
    except (ValueError, KeyError) as error:
        raise StoreError("redis: a prefix entry cannot be read") from error
