"""Measuring engines: off the request's way, bounded, and with nothing sent where it does not belong."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.filters.ai.kvcache.load import Board
from pixiu_py.filters.ai.kvcache.poller import LoadConfig, Poller, may_ask
from pixiu_py.upstream.client import Client
from tests.fakes import engine_data
from tests.fakes.actions import respond, stall
from tests.fakes.clusters import endpoint_config, make_cluster
from tests.fakes.upstream import Upstream

VLLM = respond(body=engine_data.text("vllm_metrics.prom").encode())


@asynccontextmanager
async def polling(board: Board, **config: float) -> AsyncIterator[Poller]:
    """A poller that has started."""
    client = Client()
    poller = Poller(LoadConfig(**config), board, client, time.monotonic)  # type: ignore[arg-type]
    poller.start()
    try:
        yield poller
    finally:
        await poller.close()
        await client.close()


async def test_readings_come_by_themselves() -> None:
    """Once a cluster is watched its engines are asked again and again; the board follows."""
    board = Board(max_age=60.0)
    async with Upstream(VLLM) as engine:
        cluster = make_cluster(endpoint_config("a", "127.0.0.1", engine.port))
        async with polling(board, interval=0.01) as poller:
            poller.watch(cluster)
            await engine.until_requests(3)
        assert engine.requests[0].target == "/metrics"
        load = board.get(cluster.endpoints[0], time.monotonic())
        assert load is not None
        assert (load.running, load.waiting) == (8, 4)


async def test_nothing_is_asked_before_a_cluster_is_watched_or_when_it_is_off() -> None:
    """An interval of 0 switches it off."""
    async with Upstream(VLLM) as engine, polling(Board(60.0), interval=0.0) as poller:
        poller.watch(make_cluster(endpoint_config("a", "127.0.0.1", engine.port)))
        for _ in range(10):
            await asyncio.sleep(0)
        assert engine.accepted == 0


async def test_an_engine_that_hangs_holds_up_nobody() -> None:
    """Its reading grows old; the others' are as fresh as ever."""
    board = Board(max_age=60.0)
    async with Upstream(stall()) as stuck, Upstream(VLLM) as well:
        cluster = make_cluster(
            endpoint_config("stuck", "127.0.0.1", stuck.port), endpoint_config("well", "127.0.0.1", well.port)
        )
        async with polling(board, interval=0.01, timeout=0.05) as poller:
            poller.watch(cluster)
            await well.until_requests(3)
        first, second = cluster.endpoints
        assert board.get(first, time.monotonic()) is None
        assert board.get(second, time.monotonic()) is not None


@pytest.mark.parametrize(
    ("provider", "port", "asked"),
    [("openai", 443, False), ("", 0, False), ("", 8000, True), ("vllm", 8000, True), ("mine", 8000, False)],
)
def test_hosted_providers_are_not_asked(provider: str, port: int, asked: bool) -> None:
    """They have no metrics for us, and nothing is sent to them unasked; a name without a port is mostly one of them."""
    endpoint = Endpoint("main", "a", "api.example", port)
    endpoint.provider = provider
    assert may_ask(endpoint) is asked
