"""Prefix indexes for tests: each kind, on a file or a real server."""

from __future__ import annotations

from typing import Any

import redis.asyncio

from pixiu_py.config.types import Secret
from pixiu_py.plugins import build_registry
from pixiu_py.registry import Family
from pixiu_py.stores.promptcache.base import IndexRef, PrefixIndex
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
