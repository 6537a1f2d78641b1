"""The real servers that tests talk to start, end and start again."""

from __future__ import annotations

import asyncio
import signal

import asyncpg
import pytest
import redis.asyncio
import redis.exceptions

from tests.fakes.services import postgres_server, redis_server


async def test_a_killed_redis_has_forgotten_and_comes_back() -> None:
    with redis_server() as service:
        async with redis.asyncio.Redis.from_url(service.url) as client:
            await client.set("k", "v")
            await asyncio.to_thread(service.stop, signal.SIGKILL)
            with pytest.raises(redis.exceptions.ConnectionError):
                await client.get("k")
            await asyncio.to_thread(service.start)
            assert await client.get("k") is None


async def test_a_killed_postgres_comes_back_with_its_data() -> None:
    with postgres_server() as service:
        connection = await asyncpg.connect(service.url)
        await connection.execute("CREATE TABLE t AS SELECT 1 AS n")
        await connection.close()
        await asyncio.to_thread(service.stop, signal.SIGQUIT)
        await asyncio.to_thread(service.start)
        connection = await asyncpg.connect(service.url)
        assert await connection.fetchval("SELECT n FROM t") == 1
        await connection.close()
