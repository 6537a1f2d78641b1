"""Rules of all connections to a port: a limit on them, and an end for all of them."""

from __future__ import annotations

import asyncio

from structlog.testing import capture_logs

from pixiu_py.http.connection import RawRequest
from tests.fakes.client import PATIENCE, Client, request
from tests.fakes.downstream import OK, serving


async def test_connections_are_limited() -> None:
    """One too many is closed at once, and that is told, but not of each; when one has gone, there is room again."""
    async with serving(max_connections=1) as running:
        async with Client(running.port) as first:
            assert (await first.request("GET", "/")).status == 200
            with capture_logs() as logs:
                for _ in range(5):
                    async with Client(running.port) as second:
                        await second.wait_closed_by_peer()
            assert [(entry["limit"], entry["refused"]) for entry in logs] == [(1, 1)]
            assert (await first.request("GET", "/")).status == 200
        await asyncio.wait_for(running.server.all_closed(), PATIENCE)
        async with Client(running.port) as third:
            assert (await third.request("GET", "/")).status == 200


async def test_only_idle_connections_are_closed_at_first() -> None:
    """Never used, or between requests; one whose request is under way, or has just come, may finish."""
    go = asyncio.Event()

    async def handle(raw: RawRequest) -> bool:
        if raw.head.target == "/slow":
            await go.wait()
        raw.protocol.transport.write(OK)
        return True

    async with serving(handle) as running:
        async with Client(running.port) as unused, Client(running.port) as used, Client(running.port) as busy:
            await used.request("GET", "/")
            await busy.send(request("GET", "/slow"))
            await running.until(lambda: len(running.handled) == 2)
            running.server.close_idle()
            await unused.wait_closed_by_peer()
            await used.wait_closed_by_peer()
            go.set()
            assert (await busy.read_response()).status == 200


async def test_end_cancels_what_is_under_way() -> None:
    """And closes every connection."""
    cancelled = asyncio.Event()

    async def handle(raw: RawRequest) -> bool:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return True

    async with serving(handle) as running, Client(running.port) as client, Client(running.port) as idle:
        await client.send(request("GET", "/"))
        await running.until(lambda: bool(running.handled))
        await asyncio.wait_for(running.server.end(), PATIENCE)
        assert cancelled.is_set()
        await client.wait_closed_by_peer()
        await idle.wait_closed_by_peer()
        await asyncio.wait_for(running.server.all_closed(), PATIENCE)
