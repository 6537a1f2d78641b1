"""What only the PostgreSQL index does: it is swept by several, and away for a while."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import pytest

from pixiu_py.config.types import Secret
from pixiu_py.stores.base import StoreError
from pixiu_py.stores.promptcache.base import Scope, Write
from pixiu_py.stores.promptcache.postgres import PostgresIndex, PostgresIndexConfig
from pixiu_py.stores.promptcache.sweep import Sweeper
from tests.fakes.indexes import kept
from tests.fakes.services import postgres_server

SCOPE = Scope("alice", "m", "v1")
NOW = 2_000_000_000.0


async def started(url: str, **config: Any) -> PostgresIndex:
    index = PostgresIndex(PostgresIndexConfig(dsn=Secret(url), **config))
    await index.start()
    return index


async def test_machines_share_it_and_sweep_it_together() -> None:
    """Nobody waits for another's sweep, and what is live stays."""
    with postgres_server() as service:
        indexes = [await started(service.url) for _ in range(3)]
        sweepers = [Sweeper(index, 0.01, 3) for index in indexes]
        over = [Write(bytes([number]), 1, "5m") for number in range(50)]
        await indexes[0].commit(SCOPE, over, [], 1_000_000.0)
        await indexes[1].commit(SCOPE, [Write(b"live", 1, "5m")], [], NOW * 2)
        for sweeper in sweepers:
            sweeper.start()
        async with asyncio.timeout(20):
            while await kept(indexes[2]) > 1:
                await asyncio.sleep(0.01)
        assert set(await indexes[2].lookup(SCOPE, [b"live"], NOW)) == {b"live"}
        assert sum(sweeper.swept for sweeper in sweepers) == 50
        for sweeper, index in zip(sweepers, indexes, strict=True):
            await sweeper.close()
            await index.close()


async def test_a_server_that_comes_back_still_has_its_entries() -> None:
    """While it is away every call fails, and says so; afterwards nothing has to be restarted."""
    with postgres_server() as service:
        index = await started(service.url, retries=0, rest=0.0)
        await index.commit(SCOPE, [Write(b"h", 1, "5m")], [], NOW)
        await asyncio.to_thread(service.stop, signal.SIGQUIT)
        with pytest.raises(StoreError):
            await index.lookup(SCOPE, [b"h"], NOW)
        with pytest.raises(StoreError):
            await index.commit(SCOPE, [Write(b"i", 1, "5m")], [], NOW)
        await asyncio.to_thread(service.start)
        assert set(await index.lookup(SCOPE, [b"h", b"i"], NOW)) == {b"h"}
        await index.close()
