"""What the plugin itself decides: how much of the request is read, and for what."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from pixiu_py.errors import BodyTooLarge, DownstreamError, NoEndpoint, UpstreamReset
from pixiu_py.filters.llm.proxy.filter import LlmProxy, LlmProxyConfig
from pixiu_py.filters.llm.proxy.heartbeat import BeatingBody, WaitingBody
from pixiu_py.http.exchange import Exchange, Response
from tests.fakes.actions import respond
from tests.fakes.bodies import chat_sse
from tests.fakes.clusters import cluster_context, endpoint_config, make_cluster
from tests.fakes.exchange import collect, make_exchange
from tests.fakes.peer import PATIENCE
from tests.fakes.upstream import Upstream


@pytest_asyncio.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream(lambda seen: chat_sse("a") if b'"stream"' in seen.body else respond(200)) as upstream:
        yield upstream


def exchange_for(upstream: Upstream, body: bytes, **meta: Any) -> Exchange:
    exchange = make_exchange("POST", "/v1/chat/completions", body=body)
    exchange.cluster = make_cluster(endpoint_config("a", "127.0.0.1", upstream.port, **meta))
    return exchange


async def ask(exchange: Exchange, **config: Any) -> Response:
    """One request; its body is read, and everything closed."""
    proxy = LlmProxy(LlmProxyConfig(**config), cluster_context())
    try:
        async with asyncio.timeout(PATIENCE):
            response = await proxy.decode(exchange)
            await collect(response.body)
            return response
    finally:
        proxy.done(exchange)
        await proxy.close()


async def test_body_is_read_for_nothing_that_nobody_asks(upstream: Upstream) -> None:
    """One that is no JSON passes too, where the choice of an endpoint does not depend on it."""
    assert (await ask(exchange_for(upstream, b"no json"))).status == 200
    assert upstream.request.body == b"no json"


async def test_model_is_needed_where_endpoints_restrict_theirs(upstream: Upstream) -> None:
    """A body that has none, or that cannot be read, is then the client's fault; without a model any endpoint will do."""
    with pytest.raises(DownstreamError):
        await ask(exchange_for(upstream, b"no json", models=["m"]))
    for body in (b'{"model":1}', b"[]", b"{}", b'{"model":"m"}', b""):
        assert (await ask(exchange_for(upstream, body, models=["m"]))).status == 200


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "Multipart/Form-Data; boundary=x"])
async def test_upload_names_no_model(upstream: Upstream, kind: str) -> None:
    """A form, such as a sound to be written down, is passed on although it is no JSON."""
    exchange = exchange_for(upstream, b"--x\r\n", models=["m"])
    exchange.request.headers.set("Content-Type", kind)
    assert (await ask(exchange)).status == 200


async def test_body_is_limited(upstream: Upstream) -> None:
    """It has to be kept so that it can be sent again."""
    with pytest.raises(BodyTooLarge):
        await ask(exchange_for(upstream, b"x" * 101), max_body_size=100)
    assert (await ask(exchange_for(upstream, b"x" * 100), max_body_size=100)).status == 200


async def test_route_without_a_cluster_is_an_error() -> None:
    """There is nobody to ask."""
    with pytest.raises(NoEndpoint):
        await ask(make_exchange("POST", "/", body=b"{}"))


@pytest.mark.parametrize(
    ("body", "beats"),
    [(b'{"stream":true}', True), (b'{"stream":false}', False), (b'{"stream":1}', False), (b"[]", False), (b"", False)],
)
async def test_only_streaming_clients_get_heartbeats(upstream: Upstream, body: bytes, beats: bool) -> None:
    """The others wait for a document."""
    response = await ask(exchange_for(upstream, body), heartbeat=60.0)
    assert isinstance(response.body, BeatingBody | WaitingBody) is beats


async def test_broken_answer_is_held_against_its_endpoint() -> None:
    """As the end of the exchange tells."""
    proxy = LlmProxy(LlmProxyConfig(), cluster_context())
    endpoint = make_cluster(endpoint_config("a", health_check_interval=1000)).endpoints[0]
    proxy.broke(endpoint, UpstreamReset())
    assert (endpoint.cooldown.failures, endpoint.cooldown.reason) == (1, "reset")
    await proxy.close()
