"""What every proxy filter has: its limits, its cluster, and the count of what is in flight."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest

from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.errors import ClientGone, NoEndpoint, UpstreamReset, UpstreamTimeout
from pixiu_py.filters.proxy import ProxyConfig, ProxyFilter, TimedBody, no_endpoint
from pixiu_py.http.exchange import Attempt, Exchange
from pixiu_py.upstream.attempt import Timeouts
from pixiu_py.upstream.pool import PoolSettings
from tests.fakes.exchange import ListSink, make_context, make_exchange


class Proxy(ProxyFilter):
    """Notes what breaks."""

    def __init__(self, config: Any, context: Any) -> None:
        super().__init__(config, context)
        self.broken: list[str] = []

    def broke(self, endpoint: Endpoint, error: Any) -> None:
        self.broken.append(error.kind)


def make_proxy(**config: Any) -> Proxy:
    return Proxy(ProxyConfig(**config), make_context())


def served(proxy: Proxy) -> tuple[Exchange, Endpoint]:
    """An exchange that an endpoint serves."""
    exchange, endpoint = make_exchange(), Endpoint("main", "a", "h", 1)
    exchange.attempts.append(Attempt("a", "h:1", "main", 200))
    proxy.take(exchange, endpoint)
    return exchange, endpoint


async def test_limits_come_from_the_config() -> None:
    """A zero of Pixiu's means our default."""
    assert ProxyConfig().pool_settings() == PoolSettings()
    config = {
        "maxConnsPerHost": 7,
        "maxIdleConnsPerHost": 3,
        "max_waiting": 0,
        "connect_timeout": 1.0,
        "keep_alive": 2.0,
    }
    assert ProxyConfig(**config).pool_settings() == PoolSettings(1.0, 2.0, 7, 3, 0)
    assert ProxyConfig(maxConnsPerHost=7).pool_settings().max_idle == 7  # to close fewer is to open them again
    proxy = make_proxy(first_byte_timeout=3.0, idle_timeout=4.0, scheme=" HTTPS ")
    assert (proxy.timeouts, proxy.scheme, proxy.terminal) == (Timeouts(3.0, 4.0), "https", True)


async def test_cluster_is_the_one_of_the_exchange() -> None:
    """The route's, or what a filter has put in its place; without one there is nobody to ask."""
    proxy, exchange = make_proxy(), make_exchange()
    with pytest.raises(NoEndpoint):
        proxy.cluster(exchange)
    exchange.cluster = own = SimpleNamespace(name="own")  # type: ignore[assignment]
    assert proxy.cluster(exchange) is own


async def test_endpoint_is_in_flight_while_it_serves() -> None:
    """Once for each exchange, and let go of once."""
    proxy = make_proxy()
    exchange, endpoint = served(proxy)
    assert (endpoint.in_flight, exchange.endpoint) == (1, endpoint)
    for _ in range(2):
        proxy.leave(exchange)
        assert (endpoint.in_flight, exchange.endpoint) == (0, None)


@pytest.mark.parametrize(
    ("error", "broken", "told"), [(None, [], ""), (ClientGone(), [], ""), (UpstreamReset(), ["reset"], "reset")]
)
async def test_end_of_an_exchange(error: Exception | None, broken: list[str], told: str) -> None:
    """The endpoint is free; what it broke off is told, to it and in the record; a client that left is not its fault."""
    proxy = make_proxy()
    exchange, endpoint = served(proxy)
    exchange.error = error
    proxy.done(exchange)
    proxy.done(exchange)
    assert (endpoint.in_flight, proxy.broken, exchange.attempts[0].error) == (0, broken, told)


async def test_failure_before_any_answer_is_not_told_twice() -> None:
    """No endpoint serves the exchange any more: what there was to hold against it has been."""
    proxy = make_proxy()
    exchange, _ = served(proxy)
    proxy.leave(exchange)
    exchange.error = UpstreamReset()
    proxy.done(exchange)
    assert proxy.broken == []


def test_error_has_the_status_of_the_route() -> None:
    """503 unless it says otherwise."""
    exchange = make_exchange()
    assert no_endpoint(exchange, "none").status == 503
    exchange.route = SimpleNamespace(status_without_endpoint=404)  # type: ignore[assignment]
    error = no_endpoint(exchange, "none")
    assert (error.status, error.detail, NoEndpoint.status) == (404, "none", 503)


async def test_sizes_of_the_pools_can_be_read_until_the_end() -> None:
    """A filter that is closed leaves no numbers behind."""
    proxy = make_proxy()
    proxy.pools.get(Endpoint("main", "a", "h", 1))
    assert b"pixiu_py_pool_size{" in proxy.context.metrics.render()
    await proxy.close()
    assert b"pixiu_py_pool_size{" not in proxy.context.metrics.render()


class Slow:
    """A body that does not end by itself."""

    length: int | None = 7

    def __init__(self) -> None:
        self.aborted = False

    async def pipe(self, sink: Any) -> None:
        sink.write(b"half")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.aborted = True
            raise

    def abort(self) -> None:
        self.aborted = True


async def test_body_has_to_end_in_time() -> None:
    """Else it is cut off, visibly."""
    body, sink = Slow(), ListSink()
    timed = TimedBody(body, time.monotonic() + 0.02)
    assert timed.length == 7
    with pytest.raises(UpstreamTimeout) as caught:
        await timed.pipe(sink)
    assert (caught.value.phase, body.aborted, sink.finished) == ("total", True, False)


def test_timed_body_can_be_let_go_of() -> None:
    """As the one in it."""
    body = Slow()
    TimedBody(body, 0).abort()
    assert body.aborted
