"""Rules for unusual requests: each is answered at once, by whoever it is the business of."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.conftest import StartGateway
from tests.fakes import bodies
from tests.fakes.actions import respond, stall
from tests.fakes.client import request
from tests.fakes.conf import endpoint, http_conf, llm_conf
from tests.fakes.upstream import Upstream

MIB = 2**20


@pytest.mark.parametrize("make", [llm_conf, http_conf])
async def test_a_body_whose_framing_breaks_half_way_is_refused_at_once(gateway: StartGateway, make: Any) -> None:
    """Nobody waits for the rest until the listener's read_timeout; the endpoint gets no whole request."""
    async with Upstream(respond(200)) as upstream:
        running = await gateway(make(endpoint(upstream)))
        async with running.client() as client:
            await client.send(request("POST", "/x", {"Transfer-Encoding": "chunked", "Expect": "100-continue"}))
            assert (await client.read_head()).status == 100
            await client.send(b"5\r\nhello\r\n")
            await client.send(b"no chunk at all\r\n")
            assert (await client.read_response()).status == 400
            assert await client.read_rest() == b""
        (line,) = await running.wait_log()
    assert (line["status"], line["error"]) == (400, "bad_request")
    assert not [seen for seen in upstream.requests if seen.complete and seen.body]


async def test_a_pipelined_request_keeps_its_place_before_a_broken_one(gateway: StartGateway) -> None:
    """The first is answered; the second, whose body breaks while it waits, is refused."""
    release = asyncio.Event()
    async with Upstream(stall(release, respond(200, body=b"first"))) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        async with running.client() as client:
            await client.send(request("POST", "/1", body=b"{}"))
            await upstream.until_requests(1)
            await client.send(request("POST", "/2", {"Transfer-Encoding": "chunked"}) + b"5\r\nhello\r\n")
            await asyncio.sleep(0.02)  # in a segment of its own
            await client.send(b"no chunk at all\r\n")
            await asyncio.sleep(0.02)
            release.set()
            first, second = await client.read_response(), await client.read_response()
    assert (first.status, first.body) == (200, b"first")
    assert second.status == 400
    assert [seen.target for seen in upstream.requests] == ["/1"]


@pytest.mark.parametrize("fields", [{"Transfer-Encoding": "chunked"}, {"Content-Length": "5"}])
async def test_a_head_request_may_have_a_body_that_is_streamed(gateway: StartGateway, fields: dict[str, str]) -> None:
    """Its response has none, whatever length it announces: nobody waits for it."""
    body = b"5\r\nhello\r\n0\r\n\r\n" if "Transfer-Encoding" in fields else b"hello"
    async with Upstream(respond(200, body=b"of a GET")) as upstream:
        running = await gateway(http_conf(endpoint(upstream), proxy={"replay_limit": 1}))
        async with running.client() as client:
            for _ in range(2):
                await client.send(request("HEAD", "/x", fields) + body)
                reply = await client.read_response("HEAD")
                assert (reply.status, reply.header("content-length")) == (200, b"8")
    assert [seen.body for seen in upstream.requests] == [b"hello"] * 2


@pytest.mark.parametrize("body", [b"no json", b"\xff", bytes(33 * MIB)], ids=["text", "bytes", "large"])
async def test_heartbeats_do_not_make_a_body_the_gateways_business(gateway: StartGateway, body: bytes) -> None:
    """What is no JSON asks for no stream and is passed on; the limit is the proxy's own."""
    async with Upstream(respond(200)) as upstream:
        running = await gateway(llm_conf(endpoint(upstream), proxy={"heartbeat": "1s", "max_body_size": "40MiB"}))
        assert (await running.request("POST", "/v1/audio", body=body)).status == 200
    assert upstream.request.body == body


async def test_the_model_is_given_its_name_at_each_endpoint(gateway: StartGateway) -> None:
    """Only the name is replaced, also on the second attempt; every other byte is the client's."""
    body = b'{ "seed": 9007199254740993, "model" : "big",\n "messages": [], "x": {"model": "big"} }'
    aliases = ({"name": "big", "upstream": "first-7b"}, {"name": "big", "upstream": "second-7b"})
    async with Upstream(bodies.error(500)) as first, Upstream(bodies.chat("b")) as second:
        running = await gateway(
            llm_conf(endpoint(first, fallback=True, models=[aliases[0]]), endpoint(second, models=[aliases[1]]))
        )
        assert (await running.request("POST", "/v1/chat/completions", body=body)).status == 200
    for seen, name in ((first.request, b"first-7b"), (second.request, b"second-7b")):
        assert seen.body == body.replace(b'"big",', b'"' + name + b'",')
        assert seen.header("content-length") == b"%d" % len(seen.body)
