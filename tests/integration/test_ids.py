"""Heads with an id of their own: the short way round the parsers mixes up no two of them."""

from __future__ import annotations

import asyncio

import pytest

from tests.conftest import StartGateway
from tests.fakes.actions import raw
from tests.fakes.client import Client
from tests.fakes.conf import endpoint, http_conf, llm_conf
from tests.fakes.upstream import Action, Request, Upstream

ROUNDS = 12


def answer(request: Request) -> Action:
    """Names the ids of the request in the head, all in one piece."""
    body = b'{"choices": []}'
    fields = b"X-Echo: %b\r\nContent-Length: %d\r\nX-Left: %d" % (
        request.header("x-id") or b"none",
        len(body),
        id(request) % 997,
    )
    return raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-100%%b: %%d\r\n%b\r\n\r\n%b" % (fields, body))


@pytest.mark.parametrize("conf", [llm_conf, http_conf])
async def test_each_message_has_its_own_ids(gateway: StartGateway, conf: type[llm_conf]) -> None:
    """Two clients at the same time, the endpoint's connections shared among them; a percent sign is no pattern."""
    async with Upstream(answer) as upstream:
        running = await gateway(conf(endpoint(upstream)))

        async def ask(client: Client, which: int) -> None:
            for number in range(ROUNDS):
                id_ = f"{which}-{number * 'x'}-%b%"
                fields = {"X-50%b": "%d", "X-Id": id_, "x-request-id": f"r{which}.{number}"}
                reply = await client.chat(headers=fields)
                assert (reply.status, reply.header("x-echo")) == (200, id_.encode())
                assert reply.header("x-100%b") == b"%d"
                assert reply.header("x-request-id") == f"r{which}.{number}".encode()

        async with running.client() as one, running.client() as other:
            await asyncio.gather(ask(one, 1), ask(other, 2))
        came = sorted((request.header("x-id"), request.header("x-request-id")) for request in upstream.requests)
        sent = [(f"{which}-{number * 'x'}-%b%", f"r{which}.{number}") for which in (1, 2) for number in range(ROUNDS)]
        assert came == sorted((id_.encode(), request_id.encode()) for id_, request_id in sent)
        assert {request.header("x-50%b") for request in upstream.requests} == {b"%d"}
        assert len(await running.wait_log(2 * ROUNDS)) == 2 * ROUNDS


async def test_route_follows_a_header_that_varies(gateway: StartGateway) -> None:
    """Also when nothing else in the head does."""
    async with Upstream(answer) as first, Upstream(answer) as second:
        match = {"prefix": "/", "headers": [{"name": "x-id", "values": ["b"]}]}
        routes = [
            {"match": match, "route": {"cluster": "second"}},
            {"match": {"prefix": "/"}, "route": {"cluster": "main"}},
        ]
        others = [{"name": "second", "lb_policy": "RoundRobin", "endpoints": [endpoint(second)]}]
        running = await gateway(llm_conf(endpoint(first), routes=routes, clusters=others))
        async with running.client() as client:
            for name in ("a", "c", "b", "a", "b", "b", "c", "b"):
                assert (await client.chat(headers={"X-Id": name})).status == 200
        assert [request.header("x-id") for request in second.requests] == [b"b"] * 4
        assert [request.header("x-id") for request in first.requests] == [b"a", b"c", b"a", b"c"]


async def test_limit_of_the_head_holds_for_a_value_that_varies(gateway: StartGateway) -> None:
    """A head that was recognised is no larger than one that was parsed may be."""
    async with Upstream(answer) as upstream:
        changes = {"config": {"max_header_bytes": 300}}
        running = await gateway(llm_conf(endpoint(upstream), listener=changes))
        async with running.client() as client:
            for size, status in ((1, 200), (2, 200), (3, 200), (250, 431)):
                assert (await client.chat(headers={"X-Id": "i" * size})).status == status
