"""Rules of one attempt: which connection it goes over, and when a second one is taken silently."""

from __future__ import annotations

import asyncio

import pytest

from pixiu_py.errors import UpstreamProtocolError, UpstreamReset, UpstreamTimeout
from pixiu_py.upstream.attempt import Timeouts, attempt
from pixiu_py.upstream.pool import ConnectionPool, PoolSettings
from pixiu_py.upstream.response import UpstreamResponse
from tests.fakes import actions
from tests.fakes.actions import respond
from tests.fakes.exchange import ListSink
from tests.fakes.peer import PATIENCE, start
from tests.fakes.upstream import Upstream

HEAD = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n"


def pool_of(upstream: Upstream, **limits: int) -> ConnectionPool:
    return ConnectionPool("127.0.0.1", upstream.port, None, PoolSettings(connect_timeout=PATIENCE, **limits))


async def asked(pool: ConnectionPool, first_byte: float = PATIENCE) -> UpstreamResponse:
    """One attempt."""
    return await attempt(pool, HEAD, b"body", Timeouts(first_byte, PATIENCE))


async def test_kept_connection_is_used_again() -> None:
    """One connection for one request after the other."""
    async with Upstream(respond(200, body=b"ok")) as upstream:
        pool = pool_of(upstream)
        for _ in range(3):
            assert await (await asked(pool)).read_all(99) == b"ok"
        assert [request.body for request in upstream.requests] == [b"body"] * 3
        assert upstream.accepted == 1
        await pool.close()


@pytest.mark.parametrize("how", [actions.close, actions.reset])
async def test_kept_connection_that_dies_unheard_is_replaced(how) -> None:  # type: ignore[no-untyped-def]
    """The endpoint had closed it while the request was on its way: this is no attempt, and nobody hears of it."""
    async with Upstream([respond(200, body=b"1"), how(), respond(200, body=b"2")]) as upstream:
        pool = pool_of(upstream)
        assert await (await asked(pool)).read_all(99) == b"1"
        assert await (await asked(pool)).read_all(99) == b"2"
        assert [(r.connection, r.position) for r in upstream.requests] == [(1, 1), (1, 2), (2, 1)]
        await pool.close()


async def test_kept_connection_that_dies_in_the_head_is_an_error() -> None:
    """The endpoint has begun to answer: it has seen the request."""
    async with Upstream([respond(200, body=b"1"), actions.close(b"HTTP/1.1 2")]) as upstream:
        pool = pool_of(upstream)
        await (await asked(pool)).read_all(99)
        with pytest.raises(UpstreamReset):
            await asked(pool)
        assert upstream.accepted == 1


async def test_fresh_connection_that_dies_is_an_error() -> None:
    """Not stale, so it is the endpoint that has failed; it is asked once."""
    async with Upstream([actions.close()]) as upstream:
        with pytest.raises(UpstreamReset):
            await asked(pool_of(upstream))
        assert len(upstream.requests) == 1


async def test_connection_from_the_line_is_a_kept_one_too() -> None:
    """At the limit the next connection is one that somebody else has used; it may be stale as well."""
    go = asyncio.Event()
    first = actions.raw(actions.head(200, [(b"Content-Length", b"1")]), go, b"1")
    async with Upstream([first, actions.close(), respond(200, body=b"2")]) as upstream:
        pool = pool_of(upstream, max_connections=1)
        response = await asked(pool)
        second = start(asked(pool))
        await asyncio.sleep(0)
        go.set()
        assert await response.read_all(99) == b"1"
        assert await (await asyncio.wait_for(second, PATIENCE)).read_all(99) == b"2"
        await pool.close()


async def test_slow_kept_connection_is_not_replaced() -> None:
    """Silence is no sign of a stale connection: the endpoint may be working on it."""
    async with Upstream([respond(200, body=b"1"), actions.stall()]) as upstream:
        pool = pool_of(upstream)
        await (await asked(pool)).read_all(99)
        with pytest.raises(UpstreamTimeout):
            await asked(pool, first_byte=0.02)
        assert len(upstream.requests) == 2
        await pool.close()


async def test_unasked_upgrade_is_an_error() -> None:
    """What follows would be no HTTP, and nobody could read it."""
    upgrade = actions.raw(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nnoise")
    async with Upstream([upgrade]) as upstream:
        pool = pool_of(upstream)
        with pytest.raises(UpstreamProtocolError):
            await asked(pool)
        await upstream.until(lambda it: not it.open)
        assert pool.busy == 0


async def test_cancelled_attempt_leaves_nothing() -> None:
    """The connection is closed at once, so that the endpoint notices."""
    async with Upstream([actions.stall()]) as upstream:
        pool = pool_of(upstream)
        task = start(asked(pool))
        await upstream.until_requests(1)
        task.cancel()
        await asyncio.wait_for(upstream.client_gone.wait(), PATIENCE)
        await asyncio.wait((task,))
        assert (task.cancelled(), pool.busy, pool.take()) == (True, 0, None)


@pytest.mark.parametrize("kept", [False, True], ids=["fresh", "kept"])
@pytest.mark.parametrize("chunked", [False, True])
async def test_cancelling_at_any_moment_leaves_nothing(kept: bool, chunked: bool) -> None:
    """At each turn of the loop, from the first to the one after the last: the only place is free again."""
    async with Upstream(respond(200, body=b"x" * 1000, chunked=chunked, split=(300, 600))) as upstream:
        pool = pool_of(upstream, max_connections=1)

        async def exchange() -> None:
            await (await asked(pool)).pipe(ListSink())

        finished = turns = 0
        while finished < 3:
            if kept:
                await asyncio.wait_for(exchange(), PATIENCE)
            task = start(exchange())
            for _ in range(turns):
                await asyncio.sleep(0)
            finished += task.done()
            task.cancel()
            await asyncio.wait((task,))
            await asyncio.sleep(0)
            assert pool.busy == 0, f"after {turns} turns"
            if not kept:
                await pool.close()
                pool = pool_of(upstream, max_connections=1)
            turns += 1
        assert turns > 5
        await pool.close()
