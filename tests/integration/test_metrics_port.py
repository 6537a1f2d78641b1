"""Metrics of a whole gateway, as a scraper sees them."""

from __future__ import annotations

import asyncio

import pytest

from pixiu_py.errors import StartError
from tests.conftest import StartGateway
from tests.fakes.actions import raw, respond
from tests.fakes.bodies import chat
from tests.fakes.client import Client, Reply, request
from tests.fakes.conf import endpoint, http_conf, http_filter, llm_conf
from tests.fakes.gateway import RunningGateway
from tests.fakes.upstream import Upstream

ON = {"metric": {"enable": True, "prometheus_port": 0}}


async def scrape(running: RunningGateway) -> dict[str, float]:
    """Every sample by its name and labels."""
    async with Client(running.ports["metrics"]) as client:
        reply: Reply = await client.request("GET", "/metrics")
    assert reply.status == 200
    lines = [line for line in reply.body.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


async def test_what_happened_can_be_read(gateway: StartGateway) -> None:
    """Requests under their route, attempts and cooldowns under their endpoint, pools."""
    async with Upstream(respond(500)) as bad, Upstream(chat("hi")) as good:
        endpoints = [endpoint(bad, "bad", fallback=True, health_check_interval=60000), endpoint(good, "good")]
        running = await gateway(llm_conf(*endpoints, top=ON))
        assert (await running.chat()).status == 200
        await running.wait_log()
        seen = await scrape(running)
    assert seen['pixiu_py_requests_total{route="/**",method="POST",status="2xx"}'] == 1
    assert seen['pixiu_py_attempts_total{cluster="main",endpoint="bad",outcome="status"}'] == 1
    assert seen['pixiu_py_attempts_total{cluster="main",endpoint="good",outcome="2xx"}'] == 1
    assert seen['pixiu_py_endpoint_available{cluster="main",endpoint="bad"}'] == 0
    assert seen['pixiu_py_endpoint_available{cluster="main",endpoint="good"}'] == 1
    assert seen['pixiu_py_pool_size{cluster="main",endpoint="good",state="idle"}'] == 1
    assert seen["pixiu_py_access_log_dropped_total"] == 0
    (wait,) = [value for name, value in seen.items() if name.startswith("pixiu_py_endpoint_wait_seconds")]
    assert 55 < wait <= 60


async def test_what_is_under_way_can_be_read(gateway: StartGateway) -> None:
    """While an endpoint works; and the port's own requests are in no count and no log."""
    async with Upstream(raw(asyncio.Event(), then="close")) as upstream:
        running = await gateway(http_conf(endpoint(upstream, "e"), top=ON))
        async with running.client() as client:
            await client.send(request("GET", "/"))
            await upstream.until_requests(1)
            await scrape(running)
            seen = await scrape(running)
        await running.wait_log()
    assert [line["path"] for line in running.log_lines()] == ["/"]
    assert seen['pixiu_py_endpoint_in_flight{cluster="main",endpoint="e"}'] == 1
    assert seen['pixiu_py_connections{listener="net/http",state="busy"}'] == 1
    assert not [name for name in seen if name.startswith("pixiu_py_requests_total")]


async def test_nothing_listens_unless_asked_for(gateway: StartGateway) -> None:
    """Pixiu's file may have a port without ``enable``."""
    running = await gateway(http_conf(endpoint(1), top={"metric": {"prometheus_port": 0}}))
    assert list(running.ports) == ["net/http"]


async def test_a_port_that_is_taken_stops_the_start(gateway: StartGateway) -> None:
    """And what had been started is closed again."""
    async with Upstream([]) as other:
        with pytest.raises(StartError, match="metrics: cannot listen"):
            await gateway(http_conf(endpoint(1), top={"metric": {"enable": True, "prometheus_port": other.port}}))


async def test_filters_and_the_port_share_one_page(gateway: StartGateway) -> None:
    """What a filter counts is there, too."""
    tokenizer = http_filter("dgp.filter.llm.tokenizer")
    async with Upstream(chat("hi")) as upstream:
        running = await gateway(llm_conf(endpoint(upstream, "e"), filters=[tokenizer], top=ON))
        await running.chat()
        await running.wait_log()
        seen = await scrape(running)
    assert [name for name in seen if name.startswith("pixiu_llm_upstream_requests_total")]
