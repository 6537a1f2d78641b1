"""Rules of the pools: limits that hold, a fair line, and never a connection or a place that is lost."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.errors import ConnectFailed, PoolExhausted, UpstreamTimeout
from pixiu_py.upstream.connection import UpstreamConnection
from pixiu_py.upstream.pool import ConnectionPool, Pools, PoolSettings
from tests.fakes.peer import PATIENCE, Peer, start
from tests.fakes.upstream import Upstream, refusing_port, silent_port


@pytest_asyncio.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream([]) as upstream:
        yield upstream


def pool_of(upstream: Upstream | int, **limits: Any) -> ConnectionPool:
    """A pool with these limits."""
    port = upstream if isinstance(upstream, int) else upstream.port
    return ConnectionPool("127.0.0.1", port, None, PoolSettings(**{"connect_timeout": PATIENCE, **limits}))


def used(connection: UpstreamConnection) -> UpstreamConnection:
    """As after a request."""
    connection.served += 1
    return connection


async def in_line(pool: ConnectionPool, count: int = 1) -> list[asyncio.Task[UpstreamConnection]]:
    """So many who wait for a connection, in this order."""
    tasks = [start(pool.connect()) for _ in range(count)]
    await asyncio.sleep(0)
    assert len(pool._waiting) >= count
    return tasks


# --- idle connections --------------------------------------------------------------------------------------------------


async def test_last_used_connection_is_taken_first(upstream: Upstream) -> None:
    """The others are left alone, so that they may be closed."""
    pool = pool_of(upstream)
    first, second = await pool.connect(), await pool.connect()
    pool.release(first)
    pool.release(second)
    assert (pool.busy, repr(pool)) == (0, "<ConnectionPool idle=2 open=2 waiting=0>")
    assert [pool.take(), pool.take(), pool.take()] == [second, first, None]
    assert pool.busy == 2
    await pool.close()


async def test_closing_connection_is_not_taken(upstream: Upstream) -> None:
    """It is still in the pool, for one turn of the loop."""
    pool = pool_of(upstream)
    connection = await pool.connect()
    pool.release(connection)
    connection.transport.close()
    assert pool.take() is None
    await pool.close()


async def test_idle_connection_goes_away_by_itself(upstream: Upstream) -> None:
    """After ``keep_alive``; the pool forgets it."""
    pool = pool_of(upstream, keep_alive=0.02)
    pool.release(await pool.connect())
    await upstream.until(lambda it: it.accepted == 1 and not it.open)
    assert repr(pool) == "<ConnectionPool idle=0 open=0 waiting=0>"


async def test_no_more_idle_connections_than_allowed(upstream: Upstream) -> None:
    """The next one that becomes free is closed."""
    pool = pool_of(upstream, max_idle=1)
    connections = [await pool.connect() for _ in range(3)]
    for connection in connections:
        pool.release(connection)
    await upstream.until(lambda it: it.accepted == 3 and it.open == 1)
    assert pool.take() is connections[0]
    await pool.close()


async def test_idle_connection_makes_room_for_a_new_one(upstream: Upstream) -> None:
    """Who must have a fresh connection gets one, also at the limit."""
    pool = pool_of(upstream, max_connections=1)
    kept = await pool.connect()
    pool.release(kept)
    fresh = await pool.connect()
    assert fresh is not kept
    await upstream.until(lambda it: it.accepted == 2 and it.open == 1)
    await pool.close()


# --- the line -------------------------------------------------------------------------------------------------------------


async def test_line_is_served_in_order(upstream: Upstream) -> None:
    """At the limit, a connection goes from hand to hand; nobody opens another."""
    pool = pool_of(upstream, max_connections=1)
    connection = await pool.connect()
    waiting = await in_line(pool, 3)
    for task in waiting:
        pool.release(connection)
        assert await asyncio.wait_for(task, PATIENCE) is connection
    assert upstream.accepted == 1
    await pool.close()


async def test_lost_connection_lets_the_next_one_make_its_own(upstream: Upstream) -> None:
    """A place is free."""
    pool = pool_of(upstream, max_connections=1)
    connection = await pool.connect()
    (waiting,) = await in_line(pool)
    connection.abort()
    assert await asyncio.wait_for(waiting, PATIENCE) is not connection
    assert (upstream.accepted, pool.busy) == (2, 1)
    await pool.close()


async def test_free_place_cannot_be_taken_from_the_first_in_line(upstream: Upstream) -> None:
    """Not even by one who comes before the first in line has moved: there would be a connection too many."""
    pool = pool_of(upstream, max_connections=1)
    connection = await pool.connect()
    (waiting,) = await in_line(pool)
    late = start(pool.connect())  # it moves before the first in line does
    pool.lost(connection)
    fresh = await asyncio.wait_for(waiting, PATIENCE)
    assert (upstream.accepted, late.done()) == (2, False)
    pool.release(fresh)
    assert await asyncio.wait_for(late, PATIENCE) is fresh
    connection.abort()
    await pool.close()


async def test_wait_has_an_end(upstream: Upstream) -> None:
    """``connect_timeout`` holds for the line too."""
    pool = pool_of(upstream, max_connections=1, connect_timeout=0.02)
    await pool.connect()
    with pytest.raises(PoolExhausted):
        await asyncio.wait_for(pool.connect(), PATIENCE)
    assert not pool._waiting
    await pool.close()


async def test_line_has_a_limit(upstream: Upstream) -> None:
    """Beyond ``max_waiting`` nobody waits."""
    pool = pool_of(upstream, max_connections=1, max_waiting=1)
    connection = await pool.connect()
    (waiting,) = await in_line(pool)
    with pytest.raises(PoolExhausted):
        await pool.connect()
    pool.release(connection)
    assert await waiting is connection
    await pool.close()


async def test_who_leaves_the_line_is_passed_over(upstream: Upstream) -> None:
    """Cancelled before it is its turn."""
    pool = pool_of(upstream, max_connections=1)
    connection = await pool.connect()
    first, second = await in_line(pool, 2)
    first.cancel()
    pool.release(connection)
    assert await asyncio.wait_for(second, PATIENCE) is connection
    assert first.cancelled()
    await pool.close()


@pytest.mark.parametrize("how", ["released", "lost"])
async def test_who_leaves_when_it_is_its_turn_passes_it_on(upstream: Upstream, how: str) -> None:
    """Cancelled in the moment in which it was given a connection, or the place for one."""
    pool = pool_of(upstream, max_connections=1)
    connection = await pool.connect()
    first, second = await in_line(pool, 2)
    if how == "released":
        pool.release(connection)
    else:
        pool.lost(connection)
    first.cancel()
    got = await asyncio.wait_for(second, PATIENCE)
    assert (got is connection) is (how == "released")
    assert first.cancelled()
    assert pool.busy == 1
    connection.abort()
    await pool.close()


async def test_turn_that_comes_with_the_end_of_the_wait_is_not_lost(upstream: Upstream) -> None:
    """Time is up in the very turn of the loop in which a connection is handed over: somebody has it."""
    pool = pool_of(upstream, max_connections=1, connect_timeout=0.02)
    connection = await pool.connect()
    (waiting,) = await in_line(pool)
    time.sleep(0.03)  # the timer is overdue, and runs after this task
    await asyncio.sleep(0)
    pool.release(connection)
    await asyncio.wait((waiting,))
    assert connection in (waiting.result() if not waiting.exception() else None, pool.take())
    await pool.close()


async def test_failed_connect_passes_its_place_on() -> None:
    """The next in line tries, and hears of its own failure."""
    with refusing_port() as port:
        pool = pool_of(port, max_connections=1)
        outcomes = await asyncio.gather(*(pool.connect() for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ConnectFailed] * 3
    assert (pool.busy, len(pool._waiting)) == (0, 0)


async def test_cancelled_connect_passes_its_place_on() -> None:
    """The one whose client has gone while the connection was being made."""
    with silent_port() as port:
        pool = pool_of(port, max_connections=1, connect_timeout=0.05)
        making = start(pool.connect())
        await asyncio.sleep(0)
        (waiting,) = await in_line(pool)
        making.cancel()
        with pytest.raises(UpstreamTimeout):
            await asyncio.wait_for(waiting, PATIENCE)
    assert pool.busy == 0


# --- connecting ------------------------------------------------------------------------------------------------------------


async def test_refused_connection_names_no_address() -> None:
    """The error's text may reach a client."""
    with refusing_port() as port:
        with pytest.raises(ConnectFailed) as caught:
            await pool_of(port).connect()
    assert str(caught.value) == "cannot connect: connection refused"


async def test_connecting_has_an_end() -> None:
    """An address that neither accepts nor refuses."""
    with silent_port() as port:
        pool = pool_of(port, connect_timeout=0.02)
        with pytest.raises(UpstreamTimeout) as caught:
            await asyncio.wait_for(pool.connect(), PATIENCE)
    assert (caught.value.phase, pool.busy) == ("connect", 0)


async def test_failed_tls_is_a_failed_connect() -> None:
    """Whatever OpenSSL calls it, without the address."""
    async with Peer() as peer:
        host, port = peer._server.sockets[0].getsockname()
        pool = ConnectionPool(host, port, ssl.create_default_context(), PoolSettings(connect_timeout=PATIENCE))
        connecting = start(pool.connect())
        _, writer = await peer._accepted.get()
        writer.write(b"this is not TLS\r\n")
        with pytest.raises(ConnectFailed, match=r"cannot connect: TLS failed$"):
            await asyncio.wait_for(connecting, PATIENCE)
        writer.close()


# --- the end ---------------------------------------------------------------------------------------------------------------


async def test_closed_pool_has_no_connection_and_no_line(upstream: Upstream) -> None:
    """Idle, busy, and those who wait."""
    pool = pool_of(upstream, max_connections=2)
    busy, idle = await pool.connect(), await pool.connect()
    waiting = await in_line(pool, 2)
    pool.release(idle)
    assert await waiting[0] is idle
    await pool.close()
    with pytest.raises(PoolExhausted):
        await waiting[1]
    assert (busy.transport, idle.transport) == (None, None)
    assert repr(pool) == "<ConnectionPool idle=0 open=0 waiting=0>"


async def test_pool_of_a_removed_endpoint_keeps_nothing(upstream: Upstream) -> None:
    """What is under way goes on; what becomes idle is closed."""
    pool = pool_of(upstream)
    busy, idle = await pool.connect(), await pool.connect()
    pool.release(idle)
    pool.close_idle()
    await upstream.until(lambda it: it.accepted == 2 and it.open == 1)
    assert busy.transport is not None
    pool.release(busy)
    await upstream.until(lambda it: not it.open)
    assert pool.busy == 0


async def test_each_endpoint_has_a_pool_of_its_own() -> None:
    """Made at its first use; plain or with TLS as the endpoint says, else as the filter does."""
    pools = Pools("https", PoolSettings())
    secure, plain, lax = (Endpoint("c", name, "h", 0) for name in ("secure", "plain", "lax"))
    plain.scheme, lax.tls_verify = "http", False
    assert pools.get(secure) is pools.get(secure) is not pools.get(plain)
    assert (pools.get(secure)._port, pools.get(plain)._port) == (443, 80)
    assert pools.get(plain)._tls is None
    assert pools.get(secure)._tls.verify_mode is ssl.CERT_REQUIRED
    assert pools.get(lax)._tls.verify_mode is ssl.CERT_NONE
    await pools.close()
    assert not pools._pools


async def test_pools_of_removed_endpoints_are_forgotten(upstream: Upstream) -> None:
    """When a new one is made, and not before their last connection is free."""
    pools = Pools("http", PoolSettings())
    old, new, newer = (Endpoint("c", name, "127.0.0.1", upstream.port) for name in ("old", "new", "newer"))
    busy = await pools.get(old).connect()
    old.removed = True
    pools.get(new)
    assert old in pools._pools
    pools._pools[old].release(busy)
    await upstream.until(lambda it: not it.open)
    pools.get(newer)
    assert set(pools._pools) == {new, newer}
    await pools.close()
