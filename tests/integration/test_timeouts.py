"""Time limits, each its own: connect, first byte, silence, total; and those of the client's connection."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from pixiu_py.upstream import protocol
from pixiu_py.upstream.deadline import Deadline
from tests.conftest import StartGateway
from tests.fakes import actions, bodies
from tests.fakes.bodies import chat
from tests.fakes.client import chat_body, request
from tests.fakes.clock import Clock
from tests.fakes.conf import endpoint, http_conf, llm_conf
from tests.fakes.upstream import Upstream, silent_port

CHAT = request("POST", "/v1/chat/completions", body=chat_body())
STREAM = request("POST", "/v1/chat/completions", body=chat_body(stream=True))
MAKE = pytest.mark.parametrize("make", [llm_conf, http_conf])


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time by which endpoints are found silent: it stands still, however busy the machine is, until it is turned."""
    clock = Clock()
    monkeypatch.setattr(protocol, "Deadline", lambda _, passed: Deadline(cast(Any, clock), passed))
    return clock


@MAKE
async def test_connecting_is_limited(gateway: StartGateway, make: object) -> None:
    """An address that does not answer is given up; another endpoint is asked."""
    with silent_port() as port:
        running = await gateway(make(endpoint(port), proxy={"connect_timeout": "50ms"}))  # type: ignore[operator]
        assert (await running.chat()).status == 504
        assert (await running.wait_log())[0]["attempts"][0]["error"] == "timeout_connect"
        async with Upstream([chat("b")]) as upstream:
            endpoints = (endpoint(port, fallback=True), endpoint(upstream))
            running = await gateway(make(*endpoints, proxy={"connect_timeout": "50ms"}))  # type: ignore[operator]
            assert (await running.chat()).status == 200


@MAKE
async def test_first_byte_is_limited(gateway: StartGateway, make: object) -> None:
    """An endpoint that takes a request and says nothing fails with 504, and hears that nobody waits any more."""
    async with Upstream([actions.stall()]) as upstream:
        running = await gateway(make(endpoint(upstream), proxy={"first_byte_timeout": "50ms"}))  # type: ignore[operator]
        reply = await running.chat()
        assert (reply.status, reply.json()["message"]) == (504, "Gateway timeout")
        assert (await running.wait_log())[0]["attempts"][0]["error"] == "timeout_first_byte"
        await upstream.until(lambda up: up.open == 0)


async def test_late_first_byte_is_retried(gateway: StartGateway) -> None:
    """The same endpoint may be quicker the next time."""
    async with Upstream([actions.stall(), chat("ok")]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream, retry=1), proxy={"first_byte_timeout": "50ms"}))
        assert (await running.chat()).status == 200


async def test_silence_in_a_stream_is_limited(gateway: StartGateway) -> None:
    """A stream that stops ends with an error event."""
    async with Upstream([actions.stream(bodies.chat_events("a")[:2], then="hold")]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream), proxy={"idle_timeout": "50ms"}))
        reply = await running.chat(stream=True)
        assert b"a1" in reply.body
        assert b"timeout_idle" in reply.body.split(b"\n\n")[-2]
        assert (await running.wait_log())[0]["end"] == "timeout_idle"


async def test_silence_in_a_plain_body_is_limited(gateway: StartGateway) -> None:
    """Any other body is cut off visibly."""
    stuck = actions.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", asyncio.Event())
    async with Upstream([stuck]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream), proxy={"idle_timeout": "50ms"}))
        reply = await running.chat()
        assert (reply.complete, reply.body) == (False, b"half")


async def test_stream_may_last_as_long_as_it_talks(gateway: StartGateway) -> None:
    """Every chunk starts the limit on silence anew, and there is no total unless one is set."""
    ticks = [asyncio.Event() for _ in range(6)]
    events = [piece for tick in ticks for piece in (bodies.chunk_event("x"), tick)] + [bodies.DONE]
    async with Upstream([actions.stream(events)]) as upstream:
        limits = {"idle_timeout": "500ms", "first_byte_timeout": "500ms"}
        running = await gateway(llm_conf(endpoint(upstream), proxy=limits))
        async with running.client() as client:
            await client.send(STREAM)
            for tick in ticks:
                await client.read_until(b"\n\n")
                await asyncio.sleep(0.12)
                tick.set()
            await client.read_until(b"[DONE]")


async def test_slow_client_is_not_a_silent_endpoint(gateway: StartGateway, clock: Clock) -> None:
    """While the client takes nothing the endpoint cannot send: its silence does not count."""
    size = 2**25
    async with Upstream(actions.flood(size), send_buffer=65536) as upstream:
        running = await gateway(llm_conf(endpoint(upstream), proxy={"idle_timeout": "1s"}))
        async with running.client(receive_buffer=65536) as client:
            await client.send(CHAT)
            await client.read_until(b"\r\n\r\n")
            await upstream.until_stalled()
            clock.turn(3600)
            assert len(await client.reader.readexactly(size)) == size


async def test_endpoint_is_silent_again_when_the_client_has_taken_all(gateway: StartGateway, clock: Clock) -> None:
    """A client that was slow, and is not any more, is no excuse."""
    size, more = 2**25, asyncio.Event()
    first = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (size + 2) + bytes(size)
    async with Upstream([actions.raw(first, more, b"x", asyncio.Event())], send_buffer=65536) as upstream:
        running = await gateway(llm_conf(endpoint(upstream), proxy={"idle_timeout": "1s"}))
        async with running.client(receive_buffer=65536) as client:
            await client.send(CHAT)
            await client.read_until(b"\r\n\r\n")
            await upstream.until_stalled()
            await client.reader.readexactly(size)
            more.set()
            await client.reader.readexactly(1)  # what has come through has been let through
            clock.turn(3600)
            await client.wait_closed_by_peer()
        assert (await running.wait_log())[0]["end"] == "timeout_idle"


@MAKE
async def test_total_is_limited_only_if_asked_for(gateway: StartGateway, make: object) -> None:
    """``timeout`` covers everything up to the head: retries, pauses, waiting."""
    async with Upstream([actions.stall()]) as upstream:
        running = await gateway(make(endpoint(upstream, retry=3), proxy={"timeout": "100ms"}))  # type: ignore[operator]
        assert (await running.chat()).status == 504


async def test_total_covers_the_body_too(gateway: StartGateway) -> None:
    """A stream that goes on beyond it ends with an error event."""
    async with Upstream([actions.stream(bodies.chat_events("a")[:2], then="hold")]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream), proxy={"timeout": "150ms"}))
        reply = await running.chat(stream=True)
        assert b"timeout_total" in reply.body.split(b"\n\n")[-2]


# --- the client's connection -----------------------------------------------------------------------------------------


async def test_unused_connection_is_closed(gateway: StartGateway) -> None:
    """A keep-alive connection without a request ends after the listener's ``idle_timeout``."""
    async with Upstream([chat("a")]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream), listener={"config": {"idle_timeout": "100ms"}}))
        async with running.client() as client:
            await client.chat()
            await client.wait_closed_by_peer()


@pytest.mark.parametrize("data", [b"", b"POST / HTTP/1.1\r\nHos"])
async def test_request_that_never_comes_is_not_waited_for(gateway: StartGateway, data: bytes) -> None:
    """A connection that sends nothing, or a head that never ends, holds its place for ``read_timeout`` at most."""
    limits = {"read_timeout": "100ms", "idle_timeout": "100ms"}
    async with Upstream([]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream), listener={"config": limits}))
        async with running.client() as client:
            await client.send(data)
            rest = await client.read_rest()
            assert not rest or rest.startswith(b"HTTP/1.1 408 ")


@MAKE
async def test_upload_that_stops_is_not_waited_for(gateway: StartGateway, make: object) -> None:
    """A body that does not go on is a 408 after ``read_timeout``; the endpoint gets no half request."""
    async with Upstream(chat("a")) as upstream:
        conf = make(endpoint(upstream), listener={"config": {"read_timeout": "100ms"}})  # type: ignore[operator]
        running = await gateway(conf)
        async with running.client() as client:
            await client.send(request("POST", "/v1/x", {"Content-Length": "100"}) + b"half")
            assert (await client.read_response()).status == 408
        assert not [seen for seen in upstream.requests if seen.complete]


async def test_slow_upload_that_goes_on_is_served(gateway: StartGateway) -> None:
    """``read_timeout`` is about silence, not about the whole."""
    async with Upstream([chat("a")]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream), listener={"config": {"read_timeout": "400ms"}}))
        async with running.client() as client:
            await client.send(request("POST", "/v1/x", {"Content-Length": "6"}))
            for _ in range(6):
                await client.send(b"x")
                await asyncio.sleep(0.1)
            assert (await client.read_response()).status == 200


async def test_client_that_never_reads_is_given_up(gateway: StartGateway) -> None:
    """After ``write_timeout`` without any progress the exchange ends and the endpoint is let go of."""
    async with Upstream(actions.flood(2**28), send_buffer=65536) as upstream:
        running = await gateway(llm_conf(endpoint(upstream), listener={"config": {"write_timeout": "300ms"}}))
        async with running.client(receive_buffer=65536) as client:
            await client.send(CHAT)
            await client.read_until(b"\r\n\r\n")
            async with asyncio.timeout(5):
                await upstream.client_gone.wait()
        assert (await running.wait_log())[0]["end"] == "client_gone"


# --- heartbeats ------------------------------------------------------------------------------------------------------

BEAT = b": heartbeat\n\n"


async def test_heartbeats_fill_the_wait_for_the_first_event(gateway: StartGateway) -> None:
    """While no endpoint has answered, comments keep the connection alive; then the stream follows, untouched."""
    go = asyncio.Event()
    async with Upstream([actions.stall(go, bodies.chat_sse("a"))]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream), proxy={"heartbeat": "30ms"}))
        async with running.client() as client:
            await client.send(STREAM)
            assert (await client.read_head()).header(
                "content-type",
            ) is not None
            await client.read_until(BEAT)
            await client.read_until(BEAT)
            go.set()
            rest = await client.read_until(b"0\r\n\r\n")
            assert b"a0" in rest
            assert b"[DONE]" in rest


@pytest.mark.parametrize(("body", "asked"), [(b'{"stream":true}', b"identity"), (b"{}", b"gzip, deflate")])
async def test_what_may_follow_a_heartbeat_is_not_to_be_compressed(
    gateway: StartGateway, body: bytes, asked: bytes
) -> None:
    """Every SDK accepts gzip, and a compressed answer could not go on in the stream that has begun: it would be lost."""
    async with Upstream([bodies.chat_sse("a")]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream), proxy={"heartbeat": "30s"}))
        async with running.client() as client:
            await client.request("POST", "/v1/chat/completions", {"Accept-Encoding": "gzip, deflate"}, body)
    assert upstream.requests[0].header("accept-encoding") == asked
    assert upstream.requests[0].body == body


async def test_heartbeats_fill_silences_between_events(gateway: StartGateway) -> None:
    """And never fall into an event."""
    go = asyncio.Event()
    first, *others = bodies.chat_events("a")
    events = [first[:10], go, first[10:], *others]
    async with Upstream([actions.stream(events)]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream), proxy={"heartbeat": "30ms"}))
        async with running.client() as client:
            await client.send(STREAM)
            await client.read_head()
            await client.read_until(BEAT)
            go.set()
            reply = await client.read_until(b"0\r\n\r\n")
            assert first in reply


async def test_failure_after_a_heartbeat_is_an_error_event(gateway: StartGateway) -> None:
    """The status has gone out already: the failure is told in the stream."""
    go = asyncio.Event()
    async with Upstream([actions.stall(go, bodies.error(500, message="gone wrong"))]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream), proxy={"heartbeat": "30ms"}))
        async with running.client() as client:
            await client.send(STREAM)
            await client.read_until(BEAT)
            go.set()
            rest = await client.read_until(b"0\r\n\r\n")
            assert b'"error"' in rest
            assert b"gone wrong" in rest
            assert b"[DONE]" not in rest


async def test_total_holds_behind_heartbeats(gateway: StartGateway) -> None:
    """A client that is kept waiting is not kept for longer than ``timeout``."""
    async with Upstream([actions.stall()]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream), proxy={"heartbeat": "30ms", "timeout": "150ms"}))
        async with running.client() as client:
            await client.send(STREAM)
            await client.read_until(BEAT)
            assert b'"timeout_total"' in await client.read_until(b"0\r\n\r\n")


async def test_fallback_works_behind_heartbeats(gateway: StartGateway) -> None:
    """Comments commit the gateway to nothing."""
    go = asyncio.Event()
    async with Upstream([actions.stall(go, bodies.error(500))]) as first, Upstream([bodies.chat_sse("b")]) as second:
        running = await gateway(llm_conf(endpoint(first, fallback=True), endpoint(second), proxy={"heartbeat": "30ms"}))
        async with running.client() as client:
            await client.send(STREAM)
            await client.read_until(BEAT)
            go.set()
            assert b"b0" in await client.read_until(b"0\r\n\r\n")


async def test_plain_requests_have_no_heartbeats(gateway: StartGateway) -> None:
    """A comment in a JSON body would ruin it."""
    go = asyncio.Event()
    async with Upstream([actions.stall(go, chat("a"))]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream), proxy={"heartbeat": "20ms"}))
        async with running.client() as client:
            await client.send(CHAT)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.reader.read(1), 0.1)
            go.set()
            assert (await client.read_response()).status == 200
