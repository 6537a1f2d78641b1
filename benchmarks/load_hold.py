"""Load that stays: idle keep-alive clients and slow streams, held open while somebody reads the proxy's memory.

Raises ``BenchError`` when the proxy has closed some of them meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from benchmarks.client import Client, Target, chat_request
from benchmarks.proc import BenchError

#: Connections that are opened at the same time; more would measure the accept queue.
_AT_ONCE = 50


@contextlib.asynccontextmanager
async def idle_clients(target: Target, count: int) -> AsyncIterator[list[Client]]:
    """``count`` connections that have each had one answer and now say nothing."""
    request = chat_request(target)
    async with _held(target, count, lambda client: client.send(request)) as clients:
        yield clients


@contextlib.asynccontextmanager
async def open_streams(target: Target, count: int) -> AsyncIterator[list[Client]]:
    """``count`` streams that have each delivered their first event and are waiting for the next."""

    request = chat_request(target, stream=True)

    async def begin(client: Client) -> None:
        _ = client.send(request)
        await client.first_body_byte()

    async with _held(target, count, begin) as clients:
        yield clients


@contextlib.asynccontextmanager
async def _held(target: Target, count: int, begin: Callable[[Client], Awaitable[None]]) -> AsyncIterator[list[Client]]:
    clients: list[Client] = []

    async def open_one() -> None:
        client = await Client.connect(target)
        clients.append(client)
        await begin(client)

    try:
        async with asyncio.timeout(120):
            for done in range(0, count, _AT_ONCE):
                await asyncio.gather(*(open_one() for _ in range(min(_AT_ONCE, count - done))))
        yield clients
        closed = sum(not client.is_open for client in clients)
        if closed:
            raise BenchError(f"{closed} of {count} connections were closed while they were held")
    finally:
        for client in clients:
            client.close()
