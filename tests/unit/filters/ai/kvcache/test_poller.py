"""Measuring engines: off the request's way, bounded, and with nothing sent where it does not belong."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.config.types import Secret
from pixiu_py.filters.ai.kvcache.load import Board
from pixiu_py.filters.ai.kvcache.poller import LoadConfig, Poller, base_url, credentials, may_ask, options_for
from pixiu_py.filters.ai.kvcache.wire import Options, Wire
from tests.fakes import engine_data
from tests.fakes.actions import respond, stall
from tests.fakes.clusters import endpoint_config, make_cluster
from tests.fakes.upstream import Upstream

VLLM = respond(body=engine_data.text("vllm_metrics.prom").encode())


@asynccontextmanager
async def polling(board: Board, **config: float) -> AsyncIterator[Poller]:
    """A poller that has started."""
    wire = Wire()
    await wire.start()
    poller = Poller(LoadConfig(**config), board, wire, time.monotonic)  # type: ignore[arg-type]
    poller.start()
    try:
        yield poller
    finally:
        await poller.close()
        await wire.close()


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


@pytest.mark.parametrize(
    ("header", "sent"), [("authorization", {"Authorization": "Bearer k"}), ("x-api-key", {"x-api-key": "k"})]
)
def test_an_endpoint_gets_its_own_key(header: str, sent: dict[str, str]) -> None:
    """llama-server guards its metrics with the key of its API."""
    endpoint = Endpoint("main", "a", "127.0.0.1", 1)
    assert credentials(endpoint) == {}
    endpoint.api_key = Secret("k")
    endpoint.auth_header = header
    assert credentials(endpoint) == sent


def test_urls() -> None:
    """Scheme and port as the proxy has them; an IPv6 address in brackets; the API's prefix is not the engine's."""
    endpoint = Endpoint("main", "a", "::1", 8000)
    endpoint.path_prefix = "/v2"
    assert base_url(endpoint) == "http://[::1]:8000"
    endpoint.scheme = "https"
    assert base_url(endpoint) == "https://[::1]:8000"


def test_engines_are_called_as_the_proxy_calls_them() -> None:
    """An address that was found for a name keeps the name, for the Host and for the certificate."""
    endpoint = Endpoint("main", "a", "10.0.0.7", 8443)
    endpoint.scheme, endpoint.server_name, endpoint.host_header = "https", "engine.example", "engine.example:8443"
    assert options_for(endpoint) == Options({"Host": "engine.example:8443"}, True, "engine.example")
    endpoint.scheme, endpoint.tls_verify = "http", False
    assert options_for(endpoint) == Options({"Host": "engine.example:8443"}, False, "")
