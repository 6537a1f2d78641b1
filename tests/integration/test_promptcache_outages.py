"""A real index and a real ledger that are killed and come back under load: requests notice nothing, the books miss nothing."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from pixiu_py.config.types import Secret
from pixiu_py.stores.ledger.postgres import PostgresLedger, PostgresLedgerConfig
from pixiu_py.stores.ledger.spill import spilled
from tests.conftest import StartGateway
from tests.fakes.accounted import accounting, ask, counter, requests_in, was_read
from tests.fakes.client import Client
from tests.fakes.gateway import RunningGateway
from tests.fakes.services import Service, postgres_server, redis_server

#: Clients at a time.
CLIENTS = 4


class Load:
    """Clients that ask one prompt after the other until told to stop."""

    def __init__(self, running: RunningGateway) -> None:
        self._running = running
        self._stop = asyncio.Event()
        self.statuses: list[int] = []
        self._more = asyncio.Event()

    async def run(self) -> None:
        """All clients, until ``stop``."""
        await asyncio.gather(*(self._client(number) for number in range(CLIENTS)))

    async def _client(self, number: int) -> None:
        async with self._running.client() as client:
            count = 0
            while not self._stop.is_set():
                reply = await ask(client, f"prompt {number} {count // 2}")
                self.statuses.append(reply.status)
                self._more.set()
                count += 1

    async def until(self, more: int) -> None:
        """Wait for so many more answers."""
        wanted = len(self.statuses) + more
        async with asyncio.timeout(60):
            while len(self.statuses) < wanted:
                self._more.clear()
                await self._more.wait()

    def stop(self) -> None:
        """Let each client end with its present request."""
        self._stop.set()


async def metrics(running: RunningGateway) -> str:
    """The page for Prometheus."""
    port = list(running.ports.values())[-1]
    async with Client(port) as client:
        return (await client.request("GET", "/metrics")).body.decode()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for something that nobody tells us of."""
    async with asyncio.timeout(30):
        while not await condition():
            await asyncio.sleep(0.02)


async def is_read_again(running: RunningGateway) -> bool:
    """True when a prompt that was just asked is read."""
    async with running.client() as client:
        await ask(client, "after all")
        return was_read(await ask(client, "after all"))


async def outage(running: RunningGateway, service: Service) -> int:
    """Kill the service and start it again while clients ask. How many answers there were; all of them were good."""
    load = Load(running)
    clients = asyncio.gather(load.run())
    await load.until(50)
    await asyncio.to_thread(service.stop, signal.SIGKILL if service.url.startswith("redis") else signal.SIGQUIT)
    await load.until(50)
    before = counter(await metrics(running), "pixiu_py_promptcache_degraded_total", reason="index")
    assert before > 0
    await asyncio.to_thread(service.start)
    await load.until(50)
    load.stop()
    await clients
    assert set(load.statuses) == {200}
    return len(load.statuses)


async def test_redis_is_killed_and_comes_back(gateway: StartGateway) -> None:
    """Meanwhile prompts are not cached, which is counted; afterwards they are, without a restart of ours."""
    with redis_server() as service:
        running = await gateway(accounting({"type": "redis", "url": service.url, "rest": "50ms"}))
        assert await is_read_again(running)
        await outage(running, service)
        await until(lambda: is_read_again(running))
        await running.stop()


async def test_postgres_is_killed_and_comes_back(gateway: StartGateway) -> None:
    """And every request is in the books, once: those that were answered meanwhile, too."""
    with postgres_server() as service:
        place: dict[str, Any] = {"type": "postgres", "dsn": service.url, "rest": "50ms", "timeout": "1s"}
        ledger = {**place, "writer": {"flush_interval": "20ms", "batch_size": 20}}
        running = await gateway(accounting(place, ledger))
        assert await is_read_again(running)
        count = await outage(running, service)
        await until(lambda: is_read_again(running))
        rest = counter(await metrics(running), "pixiu_py_usage_records_total", outcome="dropped")
        assert rest == 0
        assert counter(await metrics(running), "pixiu_py_usage_write_failures_total") > 0
        asked = counter(await metrics(running), "pixiu_py_promptcache_requests_total")
        assert asked >= count + 4
        await running.stop()
        books = PostgresLedger(PostgresLedgerConfig(dsn=Secret(service.url)))
        await books.start()
        assert await requests_in(books) == asked
        await books.close()


async def test_a_ledger_that_is_away_at_the_end_gets_its_records_later(gateway: StartGateway, tmp_path: Path) -> None:
    """What it could not be told is kept in a file, and told after the next start, which may come before its own."""
    with postgres_server() as service:
        writer = {"flush_interval": "10ms", "close_timeout": "50ms", "spill": str(tmp_path / "spill")}
        ledger = {"type": "postgres", "dsn": service.url, "rest": "10ms", "writer": writer}
        running = await gateway(accounting({"type": "memory"}, ledger))
        await asyncio.to_thread(service.stop, signal.SIGQUIT)
        async with running.client() as client:
            for number in range(5):
                assert (await ask(client, f"prompt {number}")).status == 200
        await running.stop()
        assert len(spilled(str(tmp_path / "spill"))) == 1
        again = await gateway(accounting({"type": "memory"}, ledger))
        await asyncio.to_thread(service.start)
        books = PostgresLedger(PostgresLedgerConfig(dsn=Secret(service.url)))
        await books.start()
        async with asyncio.timeout(30):
            while await requests_in(books) < 5 or spilled(str(tmp_path / "spill")):
                await asyncio.sleep(0.02)
        await again.stop()
        assert await requests_in(books) == 5
        await books.close()


async def test_an_index_that_hangs_delays_little(gateway: StartGateway) -> None:
    """Somebody holds its table: an answer waits for one ``timeout`` at most, most do not wait, and all are good."""
    with postgres_server() as service:
        place = {"type": "postgres", "dsn": service.url, "timeout": "50ms", "rest": "50ms"}
        running = await gateway(accounting(place))
        await until(lambda: is_read_again(running))
        other = await asyncpg.connect(service.url)
        load = Load(running)
        clients = asyncio.gather(load.run())
        async with other.transaction():
            await other.execute("LOCK TABLE pixiu_prompt_prefixes IN ACCESS EXCLUSIVE MODE")
            await load.until(100)
            assert counter(await metrics(running), "pixiu_py_promptcache_degraded_total", reason="index") > 0
        load.stop()
        await clients
        assert set(load.statuses) == {200}
        await until(lambda: is_read_again(running))
        await other.close()
        await running.stop()


@pytest.mark.parametrize("kind", ["postgres", "redis"])
async def test_a_gateway_starts_without_its_index(gateway: StartGateway, kind: str) -> None:
    """And uses it as soon as it is there."""
    with postgres_server() if kind == "postgres" else redis_server() as service:
        await asyncio.to_thread(service.stop, signal.SIGINT)
        place = {"type": kind, "dsn" if kind == "postgres" else "url": service.url, "rest": "50ms"}
        running = await gateway(accounting(place))
        async with running.client() as client:
            assert (await ask(client, "before")).status == 200
        await asyncio.to_thread(service.start)
        await until(lambda: is_read_again(running))
        await running.stop()
