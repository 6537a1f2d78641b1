"""Connections to a real PostgreSQL: retries, limits, an end in time, a server that goes and comes back."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

from pixiu_py.config.types import Secret
from pixiu_py.errors import StartError
from pixiu_py.stores.base import StoreError
from pixiu_py.stores.postgres_driver import Connection
from pixiu_py.stores.postgres_pool import PostgresConfig, PostgresPool, pause
from pixiu_py.stores.schema import Schema
from tests.fakes.services import Service, free_port, postgres_server

ONE = Schema("test", (("CREATE TABLE IF NOT EXISTS t (n INTEGER)",),))
TWO = Schema("test", (*ONE.migrations, ("ALTER TABLE t ADD COLUMN m INTEGER", "INSERT INTO t VALUES (1, 2)")))


@pytest.fixture(scope="module")
def server() -> Iterator[Service]:
    with postgres_server() as service:
        yield service


@pytest.fixture
async def url(server: Service) -> str:
    """An empty database."""
    connection = await asyncpg.connect(server.url)
    await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    await connection.close()
    return server.url


def made(url: str, schema: Schema = ONE, **config: Any) -> PostgresPool:
    return PostgresPool(PostgresConfig(dsn=Secret(url), **config), schema, jitter=lambda: 0.0)


async def one(connection: Connection) -> Any:
    return await connection.fetchval("SELECT 1")


async def rows(connection: Connection) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await connection.fetch("SELECT * FROM t ORDER BY 1")]


async def wait_forever(connection: Connection) -> None:
    await connection.execute("SELECT pg_sleep(1000)")


@pytest.mark.parametrize(
    ("dsn", "message"),
    [
        ("mysql://h/d", "Expected postgresql://"),
        ("postgresql://[", "This is no URL"),
        ("postgresql://h:port/d", "The port is no number"),
        ("postgresql://u:hun/ter2@h/d", "in a password, / is written as %2F"),
    ],
)
def test_a_dsn_that_is_none_is_refused(dsn: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PostgresConfig(dsn=Secret(dsn))


async def test_migrations_run_once_and_in_order(url: str) -> None:
    for schema, expected in ((ONE, []), (TWO, [(1, 2)]), (TWO, [(1, 2)])):
        pool = made(url, schema)
        await pool.start()
        assert await pool.run(rows) == expected
        await pool.close()
    newer = made(url, ONE)
    with pytest.raises(StartError, match="newer version"):
        await newer.start()
    await newer.close()


async def test_processes_that_start_at_once_make_the_tables_once(url: str) -> None:
    pools = [made(url, TWO) for _ in range(6)]
    await asyncio.gather(*(pool.start() for pool in pools))
    assert await pools[0].run(rows) == [(1, 2)]
    for pool in pools:
        await pool.close()


async def test_tables_that_were_dropped_are_made_again(url: str) -> None:
    pool = made(url, ONE)
    await pool.start()
    await pool.run(lambda connection: connection.execute("DROP TABLE t, pixiu_schema"))
    with pytest.raises(StoreError, match="does not exist"):
        await pool.run(rows)
    assert await pool.run(rows) == []
    await pool.close()


async def test_what_the_database_refuses_is_not_tried_again(url: str) -> None:
    pool = made(url, retries=3)
    calls = []

    async def wrong(connection: Connection) -> None:
        calls.append(1)
        await connection.execute("SELECT nothing")

    with pytest.raises(StoreError, match="does not exist"):
        await pool.run(wrong)
    assert len(calls) == 1
    assert await pool.run(one) == 1
    await pool.close()


async def test_a_broken_connection_is_replaced(url: str) -> None:
    """What a proxy in between closes while nobody uses it costs one retry, and no failure."""
    pool = made(url, retries=1)
    await pool.start()
    killer = await asyncpg.connect(url)
    await killer.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pixiu-py'")
    await killer.close()
    assert await pool.run(one) == 1
    assert await pool.run(one) == 1
    await pool.close()


async def test_a_connection_that_broke_is_not_used_again(url: str) -> None:
    """Also when it does not say that it is closed: the driver may notice later than we do."""
    pool = made(url, retries=1, pool_size=1)
    used: list[Connection] = []

    async def breaks_once(connection: Connection) -> Any:
        used.append(connection)
        if len(used) == 1:
            raise asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress")
        return await one(connection)

    assert await pool.run(breaks_once) == 1
    assert used[0].is_closed()
    assert used[0] is not used[1]
    await pool.close()


async def test_a_call_that_may_not_be_repeated_fails(url: str) -> None:
    pool = made(url, retries=3, rest=0.0)
    calls = []

    async def breaks(connection: Connection) -> None:
        calls.append(1)
        connection.terminate()
        await connection.fetchval("SELECT 1")

    with pytest.raises(StoreError):
        await pool.run(breaks, again=False)
    assert len(calls) == 1
    with pytest.raises(StoreError):
        await pool.run(breaks)
    assert len(calls) == 1 + 4
    assert pool.retried == 3
    await pool.close()


async def test_nobody_waits_longer_than_the_timeout(url: str) -> None:
    """Then calls fail at once for a while, so that requests do not queue for a server that hangs; then one tries again."""
    pool = made(url, timeout=0.1, rest=1000.0)
    await pool.start()
    with pytest.raises(StoreError, match=r"did not answer within 0\.1s"):
        await pool.run(wait_forever)
    with pytest.raises(StoreError, match="a moment ago"):
        await pool.run(one)
    await pool.close()
    back = made(url, timeout=5.0, rest=0.0)
    with pytest.raises(StoreError, match="did not answer"):
        await back.run(wait_forever, timeout=0.05)
    assert await back.run(one) == 1
    await back.close()


async def test_while_a_server_is_away_calls_fail_at_once() -> None:
    """Retries have their pauses, and an answer may wait for the call: one in ``rest`` is enough to notice its return."""
    pool = made(f"postgresql://127.0.0.1:{free_port()}/d", retries=1, rest=1000.0)
    with pytest.raises(StoreError, match="Connect call failed"):
        await pool.run(one)
    assert pool.retried == 1
    with pytest.raises(StoreError, match=r"did not answer a moment ago: .*Connect call failed"):
        await pool.run(one)
    assert pool.retried == 1
    await pool.close()


async def test_only_so_many_connections_are_made_and_so_many_calls_wait(url: str) -> None:
    pool = made(url, pool_size=2, max_pending=4)
    await pool.start()
    used: set[int] = set()
    gate = asyncio.Event()

    async def hold(connection: Connection) -> None:
        used.add(id(connection))
        await gate.wait()

    waiting = [asyncio.gather(pool.run(hold)) for _ in range(4)]
    async with asyncio.timeout(10):
        while len(used) < 2:
            await asyncio.sleep(0.001)
    with pytest.raises(StoreError, match="4 calls wait already"):
        await pool.run(one)
    gate.set()
    await asyncio.gather(*waiting)
    assert len(used) == 2
    await pool.close()


async def test_a_call_that_is_cancelled_leaves_nothing_behind(url: str) -> None:
    """Its connection is closed, and the next call has another."""
    pool = made(url, pool_size=1)
    await pool.start()
    task = asyncio.gather(pool.run(wait_forever))
    watcher = await asyncpg.connect(url)
    count = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"
    async with asyncio.timeout(10):
        while not await watcher.fetchval(count):
            await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await pool.run(one) == 1
    await watcher.close()
    await pool.close()


async def test_the_end_does_not_wait_for_what_is_under_way(url: str) -> None:
    pool = made(url, retries=0)
    await pool.start()
    task = asyncio.gather(pool.run(wait_forever), return_exceptions=True)
    async with asyncio.timeout(10):
        while not pool._busy:
            await asyncio.sleep(0)
        await pool.close()
        (result,) = await task
    assert isinstance(result, StoreError)
    with pytest.raises(StoreError, match="closed"):
        await pool.run(one)


async def test_a_server_that_is_not_there_yet_is_no_reason_not_to_start() -> None:
    pool = made(f"postgresql://127.0.0.1:{free_port()}/d", retries=0)
    await pool.start()
    with pytest.raises(StoreError):
        await pool.run(one)
    await pool.close()


async def test_a_server_that_refuses_us_is(server: Service) -> None:
    pool = made(server.url.replace("/postgres", "/nowhere"))
    with pytest.raises(StartError, match='database "nowhere" does not exist'):
        await pool.start()
    await pool.close()


async def test_a_server_that_was_killed_is_used_again_when_it_is_back() -> None:
    with postgres_server() as service:
        pool = made(service.url, TWO, retries=0, rest=0.0)
        await pool.start()
        await asyncio.to_thread(service.stop, signal.SIGQUIT)
        with pytest.raises(StoreError):
            await pool.run(rows)
        await asyncio.to_thread(service.start)
        assert await pool.run(rows) == [(1, 2)]
        await pool.close()


def test_pauses_double_up_to_a_limit_and_have_some_jitter() -> None:
    assert [round(pause(number, 0.0), 3) for number in range(7)] == [0.1, 0.2, 0.4, 0.8, 1.6, 1.6, 1.6]
    assert pause(0, 1.0) == pytest.approx(0.12)
