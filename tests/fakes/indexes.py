"""Prefix indexes for tests: each kind, on a file or a real server."""

from __future__ import annotations

from typing import Any

import redis.asyncio

from pixiu_py.config.types import Secret
from pixiu_py.plugins import build_registry
from pixiu_py.registry import Family
from pixiu_py.stores.promptcache.base import IndexRef, PrefixIndex
from pixiu_py.stores.promptcache.memory import MemoryIndex
from pixiu_py.stores.promptcache.postgres import PostgresIndex
from pixiu_py.stores.promptcache.redis import RedisIndex
from pixiu_py.stores.promptcache.sqlite import SqliteIndex
from tests.fakes.servers import Servers

REGISTRY = build_registry()
KINDS = ("memory", "sqlite", "postgres", "redis")


async def empty_index(kind: str, servers: Servers) -> PrefixIndex:
    """A started index without entries; the one before it on the same server must be closed."""
    options: dict[str, Any] = {}
    if kind == "sqlite":
        options = {"path": str(servers.folder() / "index.db")}
    elif kind == "postgres":
        await servers.empty_postgres()
        options = {"dsn": Secret(servers.postgres.url), "timeout": 60.0}  # a loop may stand still between examples
    elif kind == "redis":
        async with redis.asyncio.Redis.from_url(servers.redis.url) as client:
            await client.flushall()
        options = {"url": Secret(servers.redis.url), "timeout": 60.0}
    entry = REGISTRY.find(Family.PREFIX_INDEX, kind)
    assert entry is not None
    index: PrefixIndex = IndexRef(name=kind, config=entry.cls.Config(**options)).make(REGISTRY)
    await index.start()
    return index


async def kept(index: PrefixIndex) -> int:
    """How many entries it keeps, of all scopes, the ones that are over and not yet swept included."""
    if isinstance(index, MemoryIndex):
        return len(index._entries)
    if isinstance(index, SqliteIndex):
        query = "SELECT count(*) FROM prompt_prefixes"
        return int((await index._file.run(lambda connection: connection.execute(query).fetchone()))[0])
    if isinstance(index, PostgresIndex):
        query = "SELECT count(*) FROM pixiu_prompt_prefixes"
        return int(await index._pool.run(lambda connection: connection.fetchval(query)))
    assert isinstance(index, RedisIndex)
    return sum([len(names) async for names in index._link.names("prefix:")])
