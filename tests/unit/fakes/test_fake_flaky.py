"""The flaky relay passes, holds, cuts and refuses."""

from __future__ import annotations

import asyncio

import pytest

from tests.fakes.actions import respond
from tests.fakes.client import Client, request
from tests.fakes.flaky import Flaky, Mode
from tests.fakes.upstream import Upstream


async def test_passes_until_told_otherwise() -> None:
    """Without orders it is only a longer wire."""
    big = respond(200, body=b"x" * 100_000)
    async with Upstream(big) as upstream, Flaky(upstream.port) as flaky, Client(flaky.port) as client:
        assert len((await client.request("GET", "/")).body) == 100_000


async def test_truncates_after_so_many_bytes() -> None:
    """The client gets exactly the allowance, then the end."""
    async with Upstream(respond(200)) as upstream, Flaky(upstream.port) as flaky, Client(flaky.port) as client:
        flaky.truncate(10)
        await client.send(request("GET", "/"))
        assert await client.read_rest() == b"HTTP/1.1 2"


async def test_holds_bytes_until_it_may_pass_them() -> None:
    """Bytes that arrive while it holds are delivered later, not lost."""
    async with Upstream(respond(200)) as upstream, Flaky(upstream.port) as flaky, Client(flaky.port) as client:
        flaky.set(Mode.HOLD)
        await client.send(request("GET", "/"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(upstream.until_requests(1), 0.05)
        flaky.set(Mode.PASS)
        assert (await client.read_response()).status == 200


async def test_refuses_and_drops() -> None:
    """Open connections can be cut, and new ones refused."""
    async with Upstream(respond(200)) as upstream, Flaky(upstream.port) as flaky, Client(flaky.port) as client:
        await client.request("GET", "/")
        flaky.drop()
        assert await client.read_rest() == b""
        flaky.set(Mode.REFUSE)
        async with Client(flaky.port) as refused:
            assert await refused.read_rest() == b""
