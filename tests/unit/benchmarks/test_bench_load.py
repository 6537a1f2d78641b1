"""The load generators see what the mock engine sends, and say so when something is missing."""

import argparse
import asyncio
from collections.abc import AsyncIterator

import pytest

from benchmarks import upstream
from benchmarks.client import Client, Target
from benchmarks.load_body import download, upload
from benchmarks.load_hold import idle_clients, open_streams
from benchmarks.load_http import closed_loop, open_loop
from benchmarks.load_sse import streams
from benchmarks.proc import BenchError

EVENTS, SIZE = 5, 1_000_003


@pytest.fixture
async def engine() -> AsyncIterator[Target]:
    options = argparse.Namespace(events=EVENTS, pause_ms=1.0, download=SIZE, new=0)
    server = await asyncio.get_running_loop().create_server(lambda: upstream.Connection(options), "127.0.0.1", 0)
    async with server:
        yield Target(server.sockets[0].getsockname()[1])


async def test_every_event_of_every_stream_is_counted_and_timed(engine: Target) -> None:
    seen = await streams(engine, 3, EVENTS, timed=True)
    assert len(seen.travel) == 3 * EVENTS
    assert all(0 <= seconds < 5 for seconds in seen.travel + seen.first_event)
    assert 0 < seen.events <= 3 * (EVENTS + 1)


async def test_missing_events_are_an_error(engine: Target) -> None:
    with pytest.raises(BenchError, match="36 events were sent, 18 arrived"):
        await streams(engine, 3, 2 * EVENTS + 1)


async def test_open_loop_sends_as_many_as_it_was_told(engine: Target) -> None:
    assert len(await open_loop(engine, 500, 0.1, connections=4)) == 50


async def test_closed_loop_divides_the_reading_by_the_requests(engine: Target) -> None:
    readings = iter(((1.0, 10.0), (3.0, 16.0)))
    first, second = await closed_loop(engine, 2, 0.05, lambda: next(readings))
    assert 0 < first < 2.0
    assert second == pytest.approx(3 * first)


async def test_closed_loop_goes_round_its_connections(engine: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer are busy than there are, yet each has its turn; what comes before the count is not in it."""
    asked: list[int] = []
    send = Client.send

    async def counted(client: Client, request: bytes) -> None:
        asked.append(id(client))
        await send(client, request)

    monkeypatch.setattr(Client, "send", counted)
    readings = iter(((0.0,), (1.0,)))
    (cost,) = await closed_loop(engine, 6, 0.05, lambda: next(readings), busy=2, before=3)
    assert len(set(asked[18:])) == len(set(asked[:18])) == 6
    assert cost == pytest.approx(1 / (len(asked) - 18))


async def test_held_clients_and_streams_stay_open(engine: Target) -> None:
    async with idle_clients(engine, 3) as clients:
        assert [client.is_open for client in clients] == [True] * 3
    async with open_streams(engine, 3) as clients:
        assert [client.is_open for client in clients] == [True] * 3
    assert not any(client.is_open for client in clients)


async def test_a_held_client_that_the_server_closed_is_an_error(engine: Target) -> None:
    with pytest.raises(BenchError, match="1 of 2 connections"):
        async with idle_clients(engine, 2) as clients:
            clients[0].close()


async def test_bodies_arrive_whole(engine: Target) -> None:
    await asyncio.to_thread(upload, engine, SIZE)
    await asyncio.to_thread(download, engine, SIZE)
    with pytest.raises(BenchError, match="download answered"):
        await asyncio.to_thread(download, engine, SIZE + 1)


@pytest.mark.parametrize("index", [0, 248, 249, 250, 499, 999])
def test_loopback_addresses_are_valid(index: int) -> None:
    parts = [int(part) for part in upstream.loopback(index).split(".")]
    assert parts[0] == 127
    assert all(part < 255 for part in parts)


def test_loopback_addresses_are_distinct() -> None:
    assert len({upstream.loopback(index) for index in range(1000)}) == 1000
