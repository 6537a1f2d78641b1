"""Limits: each is hit here, at its edge, and what happens then is an answer and not a collapse."""

from __future__ import annotations

import asyncio

import pytest

from tests.conftest import StartGateway
from tests.fakes import actions
from tests.fakes.actions import respond
from tests.fakes.bodies import chat
from tests.fakes.client import chat_body, request
from tests.fakes.conf import endpoint, http_conf, llm_conf
from tests.fakes.gateway import RunningGateway
from tests.fakes.upstream import Upstream

CHAT = request("POST", "/v1/chat/completions", body=chat_body())


def listener(**limits: object) -> dict[str, object]:
    """A listener block with these limits."""
    return {"config": limits}


@pytest.mark.parametrize(("size", "status"), [(1000, 200), (1001, 413)])
@pytest.mark.parametrize("chunked", [False, True])
async def test_body_that_has_to_be_kept_is_limited(
    gateway: StartGateway, size: int, status: int, chunked: bool
) -> None:
    """Exactly ``max_body_size`` passes, one byte more is 413; with a declared length before any of it is read."""
    async with Upstream(chat("a")) as upstream:
        running = await gateway(llm_conf(endpoint(upstream), proxy={"max_body_size": 1000}))
        async with running.client() as client:
            if chunked:
                head = request("POST", "/v1/x", {"Transfer-Encoding": "chunked"})
                await client.send(head + b"%x\r\n" % size + b"x" * size + b"\r\n0\r\n\r\n")
            else:
                await client.send(request("POST", "/v1/x", body=b"x" * size))
            reply = await client.read_response()
            assert reply.status == status
        assert len(upstream.requests) == (status == 200)


async def test_body_that_is_announced_too_large_is_not_uploaded(gateway: StartGateway) -> None:
    """A client that asks before it sends is refused, not invited."""
    async with Upstream([]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream), proxy={"max_body_size": 1000}))
        async with running.client() as client:
            await client.send(request("POST", "/v1/x", {"Expect": "100-continue", "Content-Length": "1001"}))
            reply = await client.read_response()
            assert (reply.status, reply.interim) == (413, [])
            assert reply.json()["status"] == 413


async def test_streamed_upload_has_no_limit(gateway: StartGateway) -> None:
    """What nobody has to keep may be as long as it likes."""
    async with Upstream(lambda seen: respond(200, body=b"%d" % len(seen.body))) as upstream:
        running = await gateway(http_conf(endpoint(upstream)))
        reply = await running.request("POST", "/x", body=b"x" * 2**26)
        assert reply.body == b"%d" % 2**26


@pytest.mark.parametrize("field", [b"X-A: " + b"a" * 3000, b"\r\n".join(b"X-%d: %d" % (n, n) for n in range(250))])
async def test_request_head_is_limited(gateway: StartGateway, field: bytes) -> None:
    """``max_header_bytes`` holds for one long field and for many short ones: 431."""
    async with Upstream([]) as upstream:
        limits = listener(max_header_bytes=2000, max_headers=1000)
        running = await gateway(llm_conf(endpoint(upstream), listener=limits))
        async with running.client() as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n" + field + b"\r\n\r\n")
            reply = await client.read_response()
            assert (reply.status, reply.header("content-type")) == (431, b"application/json")


async def test_request_line_is_limited(gateway: StartGateway) -> None:
    """A target longer than any head may be is refused too."""
    async with Upstream([]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream), listener=listener(max_header_bytes=2000)))
        async with running.client() as client:
            await client.send(b"GET /" + b"a" * 3000 + b" HTTP/1.1\r\nHost: h\r\n\r\n")
            assert (await client.read_response()).status in (414, 431)


async def test_number_of_fields_is_limited(gateway: StartGateway) -> None:
    """``max_headers`` fields pass, more do not."""
    async with Upstream([chat("a")]) as upstream:
        running = await gateway(http_conf(endpoint(upstream), listener=listener(max_headers=50)))
        assert (await running.request("GET", "/x", [(b"X-%d" % n, b"") for n in range(49)])).status == 200
        reply = await running.request("GET", "/x", [(b"X-%d" % n, b"") for n in range(50)])
        assert reply.status == 400
        assert b"too many header fields" in reply.body


async def test_a_line_that_is_too_long_is_told_as_such(gateway: StartGateway) -> None:
    """And nothing of it is repeated."""
    async with Upstream([]) as upstream:
        running = await gateway(http_conf(endpoint(upstream)))
        async with running.client() as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: h\r\nX-A: " + b"a" * 70_000 + b"\r\n\r\n")
            reply = await client.read_response()
    assert reply.status == 431
    assert b"a header field or the request line is too long" in reply.body
    assert b"aaa" not in reply.body


async def test_connections_are_limited(gateway: StartGateway) -> None:
    """One above ``max_connections`` is closed at once; when one has ended there is room again."""
    async with Upstream(chat("a")) as upstream:
        running = await gateway(llm_conf(endpoint(upstream), listener=listener(max_connections=1)))
        async with running.client() as first:
            assert (await first.chat()).status == 200
            async with running.client() as second:
                assert await second.read_rest() == b""
            assert (await first.chat()).status == 200
        async with asyncio.timeout(5):
            while not await is_served(running):
                await asyncio.sleep(0.01)  # the gateway has not seen the end of the first yet


async def is_served(running: RunningGateway) -> bool:
    """True when a new connection gets an answer, False when it is closed instead."""
    try:
        return (await running.chat()).status == 200
    except (EOFError, ConnectionError):
        return False


async def test_connections_to_an_endpoint_are_limited(gateway: StartGateway) -> None:
    """Above ``maxConnsPerHost`` requests wait for one another."""
    go = asyncio.Event()
    async with Upstream(actions.stall(go, chat("a"))) as upstream:
        running = await gateway(llm_conf(endpoint(upstream), proxy={"maxConnsPerHost": 2}))
        async with asyncio.TaskGroup() as group:
            replies = [group.create_task(running.chat()) for _ in range(6)]
            await upstream.until_requests(2)
            go.set()
        assert [task.result().status for task in replies] == [200] * 6
        assert upstream.accepted == 2


async def test_queue_for_an_endpoint_is_limited(gateway: StartGateway) -> None:
    """More than ``max_waiting`` are refused with 503; nobody waits longer than for a connection."""
    async with Upstream(actions.stall()) as upstream:
        limits = {"maxConnsPerHost": 1, "max_waiting": 1, "connect_timeout": "150ms"}
        running = await gateway(llm_conf(endpoint(upstream), proxy=limits))
        async with running.client() as busy, running.client() as waiting:
            await busy.send(CHAT)
            await upstream.until_requests(1)
            await waiting.send(CHAT)
            refused = await running.chat()
            assert (refused.status, (await waiting.read_response()).status) == (503, 503)
        kinds = {line["attempts"][0]["error"] for line in await running.wait_log(2)}
        assert "pool_exhausted" in kinds


async def test_client_that_leaves_the_queue_is_forgotten(gateway: StartGateway) -> None:
    """Its place is free for the next one, and no request of its is sent."""
    go = asyncio.Event()
    async with Upstream(actions.stall(go, chat("a"))) as upstream:
        running = await gateway(llm_conf(endpoint(upstream), proxy={"maxConnsPerHost": 1}))
        async with running.client() as busy:
            await busy.send(CHAT)
            await upstream.until_requests(1)
            async with running.client() as leaves:
                await leaves.send(CHAT)
                await asyncio.sleep(0.05)  # nothing tells when it stands in the queue
                leaves.abort()
            await running.wait_log()
            go.set()
            assert (await busy.read_response()).status == 200
        assert (await running.chat()).status == 200
        assert len(upstream.requests) == 2


async def test_idle_connections_to_an_endpoint_are_limited(gateway: StartGateway) -> None:
    """Above ``maxIdleConnsPerHost`` they are closed after use; the others serve again."""
    go = asyncio.Event()
    async with Upstream(actions.stall(go, chat("a"))) as upstream:
        running = await gateway(llm_conf(endpoint(upstream), proxy={"maxIdleConnsPerHost": 1}))
        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(running.chat())
            await upstream.until_requests(4)
            go.set()
        await upstream.until(lambda up: up.open == 1)
        await running.chat()
        assert upstream.accepted == 4


async def test_idle_connection_to_an_endpoint_is_closed_in_time(gateway: StartGateway) -> None:
    """Before the endpoint closes it on us: after ``keep_alive``."""
    async with Upstream(chat("a")) as upstream:
        running = await gateway(llm_conf(endpoint(upstream), proxy={"keep_alive": "50ms"}))
        await running.chat()
        await upstream.until(lambda up: up.open == 0)


async def test_many_clients_at_once(gateway: StartGateway) -> None:
    """Five hundred connections, each with its own request: every one is served."""
    async with Upstream(lambda seen: chat(str(seen.json()["user"]))) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        replies = await asyncio.gather(*(running.chat(user=f"user {n}") for n in range(500)))
        assert all(f'"user {n}"'.encode() in reply.body for n, reply in enumerate(replies))
