"""The scripted endpoint does what it is told, and says what it was sent."""

from __future__ import annotations

import asyncio
import socket

import pytest

from tests.fakes import actions, bodies
from tests.fakes.client import Client, request
from tests.fakes.upstream import Action, Request, Upstream, refusing_port, silent_port


async def test_request_is_kept_byte_for_byte() -> None:
    """Names keep their case, order and repetition; the body is freed of its framing."""
    async with Upstream(actions.respond(200)) as upstream, Client(upstream.port) as client:
        await client.send(
            b"POST /a%2Fb?q HTTP/1.1\r\nX-b: 1\r\nhost: h\r\nX-B: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        await client.send(b"3\r\nabc\r\n2;ext\r\nde\r\n0\r\n\r\n")
        assert (await client.read_response()).body == b"{}"
        seen = upstream.request
        assert (seen.method, seen.target, seen.body, seen.framing) == ("POST", "/a%2Fb?q", b"abcde", "chunked")
        assert seen.headers[0] == (b"X-b", b"1")
        assert seen.values("x-b") == [b"1", b"2"]


async def test_list_script_is_used_once_and_in_order() -> None:
    """Each request takes one action; connections are reused and counted."""
    async with Upstream([actions.respond(500), bodies.chat("a")]) as upstream, Client(upstream.port) as client:
        assert (await client.chat()).status == 500
        assert (await client.chat()).status == 200
        assert [r.position for r in upstream.requests] == [1, 2]
        assert (upstream.accepted, upstream.open) == (1, 1)


async def test_request_beyond_the_script_fails_the_test() -> None:
    """An unexpected request does not pass unnoticed."""
    upstream = await Upstream([]).__aenter__()
    async with Client(upstream.port) as client:
        with pytest.raises(EOFError):
            await client.chat()
    with pytest.raises(AssertionError, match="unexpected request 1"):
        await upstream.__aexit__(None, None, None)


async def test_function_script_sees_the_request() -> None:
    """A function decides by the request, body included."""

    def script(seen: Request) -> Action:
        return actions.respond(200, body=seen.body[::-1])

    async with Upstream(script) as upstream, Client(upstream.port) as client:
        assert (await client.request("PUT", "/", body=b"abc")).body == b"cba"


@pytest.mark.parametrize("then", ["close", "reset"])
async def test_cut_stream_is_incomplete(then: str) -> None:
    """A stream without its last chunk can be told from a whole one."""
    async with Upstream(bodies.cut_sse("a", after=2, how=then)) as upstream, Client(upstream.port) as client:
        reply = await client.chat(stream=True)
        assert not reply.complete
        assert reply.body.count(b"data:") <= 2
    async with Upstream(bodies.chat_sse("a")) as upstream, Client(upstream.port) as client:
        reply = await client.chat(stream=True)
        assert reply.complete
        assert reply.body.endswith(bodies.DONE)


async def test_pause_lasts_until_its_event() -> None:
    """What comes after an event is sent when the event is set."""
    go = asyncio.Event()
    async with Upstream(actions.stream([b"one", go, b"two"])) as upstream, Client(upstream.port) as client:
        await client.send(request("GET", "/"))
        await client.read_until(b"one\r\n")
        go.set()
        assert b"two" in await client.read_until(b"0\r\n\r\n")


async def test_client_gone_is_noticed_while_answering() -> None:
    """The event is set when the peer leaves before it has its answer, and only then."""
    async with Upstream([actions.respond(200), actions.stall()]) as upstream:
        async with Client(upstream.port) as client:
            await client.chat()
        await upstream.until(lambda up: up.open == 0)
        assert not upstream.client_gone.is_set()
        async with Client(upstream.port) as client:
            await client.send(request("GET", "/"))
            await upstream.until_requests(2)
        async with asyncio.timeout(5):
            await upstream.client_gone.wait()


async def test_early_answer_does_not_wait_for_the_body() -> None:
    """A reply may come while the request is still being sent."""
    async with Upstream([actions.early(actions.respond(413))]) as upstream, Client(upstream.port) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n")
        assert (await client.read_response()).status == 413
        await client.read_rest()


async def test_reset_on_accept_comes_before_any_byte() -> None:
    """The connection is reset without a request having been read."""
    async with Upstream([actions.reset_on_accept()]) as upstream, Client(upstream.port) as client:
        with pytest.raises((EOFError, ConnectionError)):
            await client.request("GET", "/")
        assert upstream.requests == []


async def test_ports_that_refuse_and_that_keep_silent() -> None:
    """A refusing port refuses at once; at a silent port connecting does not end."""
    loop = asyncio.get_running_loop()
    with refusing_port() as port, socket.socket() as sock:
        sock.setblocking(False)
        with pytest.raises(ConnectionRefusedError):
            await loop.sock_connect(sock, ("127.0.0.1", port))
    with silent_port() as port, socket.socket() as sock:
        sock.setblocking(False)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(loop.sock_connect(sock, ("127.0.0.1", port)), 0.05)


async def test_flood_stops_when_nobody_reads() -> None:
    """An endpoint with more to say than anybody takes is held up by its socket."""
    flood = Upstream(actions.flood(2**28), send_buffer=65536)
    async with flood as upstream, Client(upstream.port, receive_buffer=65536) as client:
        await client.send(request("GET", "/"))
        await client.read_until(b"\r\n\r\n")
        await upstream.until_stalled()
        assert upstream.connections[0].sent < 2**24


async def test_expect_continue_is_answered() -> None:
    """A client that asks before it sends its body gets its interim response first."""
    async with Upstream(actions.respond(200)) as upstream, Client(upstream.port) as client:
        await client.send(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n")
        assert (await client.read_head()).status == 100
        await client.send(b"x")
        assert (await client.read_response()).status == 200
