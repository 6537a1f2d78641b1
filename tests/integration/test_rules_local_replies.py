"""Rule: an answer of the gateway's own is an answer like any other: headers of the filters, one line in the access log."""

from __future__ import annotations

from typing import Any

import pytest

from pixiu_py.filters.base import HttpFilter
from pixiu_py.registry import Family, plugin
from tests.conftest import StartGateway
from tests.fakes import actions, bodies
from tests.fakes.client import chat_body
from tests.fakes.conf import Block, conf, endpoint, http_filter
from tests.fakes.gateway import RunningGateway
from tests.fakes.kinds import FILTERS
from tests.fakes.upstream import Upstream, refusing_port

PAGE = "https://app.example"
ORIGIN = {"Origin": PAGE}
CORS = http_filter("dgp.filter.http.cors", allow_origin=[PAGE], expose_headers="x-request-id")
HEADER = http_filter("dgp.filter.http.header", response={"set": {"x-site": "here"}})
REQUIRE = http_filter("example.filter.requireheader", header="x-team")
TEAM = {**ORIGIN, "x-team": "red"}
(RequireHeader,) = [entry.cls for entry in FILTERS if entry.kind == REQUIRE["name"]]
PROXIES = ["dgp.filter.http.httpproxy", "dgp.filter.llm.proxy"]


@plugin(Family.HTTP_FILTER, "test.fault")
class Fault(HttpFilter):
    """Fails."""

    def decode(self, exchange: object) -> None:
        """Fail."""
        raise RuntimeError("told to fail")


def filters(proxy: str, *more: Block, **config: Any) -> list[Block]:
    """A chain whose first filters mark every answer."""
    return [CORS, HEADER, *more, http_filter(proxy, **config)]


async def check(running: RunningGateway, status: int, headers: dict[str, str], body: bytes | None = None) -> None:
    """The answer has this status, the marks of the filters, and exactly one line in the log."""
    reply = await running.request("POST", "/v1/chat/completions", headers, chat_body() if body is None else body)
    assert reply.status == status
    assert reply.header("access-control-allow-origin") == PAGE.encode()
    assert reply.header("access-control-expose-headers") == b"x-request-id"
    assert reply.header("vary") == b"Origin"
    assert reply.header("x-site") == b"here"
    document: Any = reply.json()
    assert (document["status"], reply.header("content-type")) == (status, b"application/json")
    (line,) = await running.wait_log()
    assert line["status"] == status
    assert line["request_id"].encode() == reply.header("x-request-id")
    assert line["bytes_out"] == len(reply.body)


@pytest.mark.parametrize("proxy", PROXIES)
async def test_401_of_a_filter(gateway: StartGateway, proxy: str) -> None:
    """The page that asked gets to see why."""
    async with Upstream([]) as upstream:
        running = await gateway(conf(endpoint(upstream), filters=filters(proxy, REQUIRE)), RequireHeader)
        await check(running, 401, ORIGIN)


@pytest.mark.parametrize("proxy", PROXIES)
async def test_502_of_a_dead_endpoint(gateway: StartGateway, proxy: str) -> None:
    """With the attempt in the line."""
    with refusing_port() as port:
        running = await gateway(conf(endpoint(port), filters=filters(proxy, REQUIRE)), RequireHeader)
        await check(running, 502, TEAM)
        (line,) = running.log_lines()
    assert line["error"] == "connect_failed"
    assert [attempt["error"] for attempt in line["attempts"]] == ["connect_failed"]


@pytest.mark.parametrize("proxy", PROXIES)
async def test_503_of_a_cluster_without_endpoints(gateway: StartGateway, proxy: str) -> None:
    """Nobody to ask."""
    await check(await gateway(conf(filters=filters(proxy))), 503, ORIGIN)


@pytest.mark.parametrize("proxy", PROXIES)
async def test_504_of_a_silent_endpoint(gateway: StartGateway, proxy: str) -> None:
    """Given up after its time."""
    async with Upstream(actions.stall()) as upstream:
        chain = filters(proxy, first_byte_timeout="50ms")
        await check(await gateway(conf(endpoint(upstream), filters=chain)), 504, ORIGIN)


async def test_413_of_a_large_body(gateway: StartGateway) -> None:
    """Refused before it is read."""
    async with Upstream([]) as upstream:
        chain = filters("dgp.filter.llm.proxy", max_body_size=10)
        await check(await gateway(conf(endpoint(upstream), filters=chain)), 413, ORIGIN, b"x" * 11)


async def test_500_of_a_broken_filter(gateway: StartGateway) -> None:
    """Also of one that fails in another way than it may."""
    async with Upstream([]) as upstream:
        chain = filters("dgp.filter.llm.proxy", http_filter("test.fault"))
        await check(await gateway(conf(endpoint(upstream), filters=chain), Fault), 500, ORIGIN)


async def test_404_without_a_route(gateway: StartGateway) -> None:
    """No route, so no filters; but the agreed shape, and a line in the log."""
    routes = [{"match": {"prefix": "/v1"}, "route": {"cluster": "main"}}]
    async with Upstream(bodies.chat("a")) as upstream:
        running = await gateway(conf(endpoint(upstream), filters=filters(PROXIES[0]), routes=routes))
        reply = await running.request("GET", "/elsewhere", ORIGIN)
        document: Any = reply.json()
        assert (reply.status, document["status"]) == (404, 404)
        (line,) = await running.wait_log()
    assert (line["status"], line["error"], line["route"]) == (404, "no_route", "")
