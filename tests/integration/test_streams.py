"""Server-sent events: at once, untouched, and with an honest end."""

from __future__ import annotations

import asyncio

import pytest

from tests.conftest import StartGateway
from tests.fakes import actions, bodies
from tests.fakes.actions import SSE, stream
from tests.fakes.client import chat_body, request
from tests.fakes.conf import endpoint, llm_conf
from tests.fakes.upstream import Upstream

CHAT = request("POST", "/v1/chat/completions", body=chat_body(stream=True))


async def test_whole_stream_is_relayed_untouched(gateway: StartGateway) -> None:
    """Event for event, byte for byte, with nothing added after a good end."""
    async with Upstream(bodies.chat_sse("a", words=50)) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        reply = await running.chat(stream=True)
        assert (reply.status, reply.header("content-type"), reply.complete) == (200, b"text/event-stream", True)
        assert reply.body == b"".join(bodies.chat_events("a", 50))
        assert (await running.wait_log())[0]["end"] == "complete"


ODD = [
    b": comment\n\n",
    b"event: x\r\ndata: a\r\ndata: b\r\nid: 1\r\nretry: 10\r\n\r\n",
    b"data:no space\r\rdata: half an ev",
    b"ent\n\n",
    b"data: {not json\n\n",
    b"unknown: field\n\n\n\n",
    b"\xef\xbb\xbfdata: bom\n\n",
    b"data: \xff\xfe\n\n",
    bodies.chunk_event("x", "stop"),
    bodies.DONE,
]


async def test_odd_framing_is_relayed_untouched(gateway: StartGateway) -> None:
    """Comments, all line ends, split and malformed events: what the gateway need not understand it does not change."""
    async with Upstream(stream(ODD)) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        assert (await running.chat(stream=True)).body == b"".join(ODD)


@pytest.mark.parametrize("fallback", [False, True])
async def test_events_are_not_held_back(gateway: StartGateway, fallback: bool) -> None:
    """An event is at the client before the endpoint sends the next one, role and comment frames included."""
    first, second = asyncio.Event(), asyncio.Event()
    events = [bodies.chunk_event("one"), first, b": ping\n\n", second, bodies.chunk_event("two", "stop"), bodies.DONE]
    async with Upstream(stream(events)) as upstream, Upstream([]) as other:
        running = await gateway(llm_conf(endpoint(upstream, fallback=fallback), endpoint(other)))
        async with running.client() as client:
            await client.send(CHAT)
            await client.read_until(b"one")
            first.set()
            await client.read_until(b": ping\n\n")
            second.set()
            await client.read_until(b"[DONE]")


async def test_head_goes_out_before_the_first_event(gateway: StartGateway) -> None:
    """With no fallback left nothing is held, not even the head while the endpoint thinks."""
    go = asyncio.Event()
    async with Upstream(stream([go, *bodies.chat_events("a")])) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        async with running.client() as client:
            await client.send(CHAT)
            assert (await client.read_head()).status == 200
            go.set()
            await client.read_until(b"[DONE]")


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("after", [1, 2, 5])
async def test_broken_stream_ends_with_an_error_event(gateway: StartGateway, after: int, how: str) -> None:
    """After what was received comes one well-formed error event in OpenAI's shape, and no ``[DONE]``."""
    async with Upstream([bodies.cut_sse("a", after=after, how=how)]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream, retry=2)))
        reply = await running.chat(stream=True)
        events = reply.body.split(b"\n\n")
        assert b"a0" in events[0]
        assert len(events) == after + 2
        assert events[-1] == b""
        assert b'"error"' in events[-2]
        assert events[-2].startswith(b"data: {")
        assert b"[DONE]" not in reply.body
        assert reply.body.count(b'"error"') == 1
        assert (await running.wait_log())[0]["end"] not in ("complete", "")


async def test_empty_lines_between_events_do_not_hide_the_error(gateway: StartGateway) -> None:
    """A lone line end that keeps the connection alive is no torn event, though its chunk ends like a whole one."""
    for line in (b"\n", b"\r\n"):
        events = [event.replace(b"\n", line) for event in bodies.chat_events("a", 4)[:4]]
        async with Upstream([stream([*events, line, line], then="close")]) as upstream:
            running = await gateway(llm_conf(endpoint(upstream)))
            reply = await running.chat(stream=True)
            assert reply.complete
            assert reply.body.startswith(b"".join(events))
            assert reply.body.count(b'data: {"error"') == 1


async def test_broken_event_does_not_swallow_the_error(gateway: StartGateway) -> None:
    """A stream cut in the middle of an event: the half event does not run into the error event."""
    async with Upstream([stream([bodies.chunk_event("a"), b'data: {"half'], then="close")]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        body = (await running.chat(stream=True)).body
        assert body.startswith(bodies.chunk_event("a"))
        assert body.split(b"\n\n")[-2].startswith(b'data: {"error"')


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_stream_that_breaks_after_its_end_was_complete(gateway: StartGateway, how: str) -> None:
    """``[DONE]`` has come: that the endpoint then forgets to end the HTTP message takes nothing from the answer."""
    async with Upstream([stream(bodies.chat_events("a"), then=how)]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        reply = await running.chat(stream=True)
        assert (reply.complete, reply.body) == (True, b"".join(bodies.chat_events("a")))


async def test_clean_end_without_done_is_no_end(gateway: StartGateway) -> None:
    """An endpoint that stops early, though well for HTTP, has not finished: error event, log, no invented ``[DONE]``."""
    async with Upstream([bodies.unfinished_sse("a")]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        reply = await running.chat(stream=True)
        assert b'"error"' in reply.body.split(b"\n\n")[-2]
        assert b"[DONE]" not in reply.body
        assert (await running.wait_log())[0]["end"] == "truncated"


async def test_anthropic_stream_fails_in_its_own_shape(gateway: StartGateway) -> None:
    """A client of the Messages API gets ``event: error`` with a typed error object."""
    events = bodies.message_events("a")[:3]
    async with Upstream([stream(events, then="close")]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        reply = await running.request("POST", "/v1/messages", body=chat_body(stream=True))
        last = reply.body.split(b"\n\n")[-2]
        assert last.startswith(b"event: error\ndata: {")
        assert b'"type":"error"' in last.replace(b" ", b"")


async def test_anthropic_stream_needs_no_done(gateway: StartGateway) -> None:
    """``message_stop`` is the end of a Messages stream."""
    async with Upstream(stream(bodies.message_events("a"))) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        reply = await running.request("POST", "/v1/messages", body=chat_body(stream=True))
        assert reply.body == b"".join(bodies.message_events("a"))
        assert (await running.wait_log())[0]["end"] == "complete"


async def test_stream_of_an_unknown_api_may_end_anyhow(gateway: StartGateway) -> None:
    """Only for APIs whose end is known can an early end be told: others are left alone."""
    async with Upstream(stream([b"data: tick\n\n"])) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        reply = await running.request("GET", "/v1/ticks")
        assert (reply.body, reply.complete) == (b"data: tick\n\n", True)


async def test_error_in_the_first_event_falls_back(gateway: StartGateway) -> None:
    """A 200 that opens with an error is a failure while another endpoint can be tried; the client sees nothing of it."""
    async with Upstream([bodies.error_sse()]) as first, Upstream([bodies.chat_sse("b")]) as second:
        running = await gateway(llm_conf(endpoint(first, fallback=True), endpoint(second)))
        reply = await running.chat(stream=True)
        assert reply.body == b"".join(bodies.chat_events("b"))
        assert [a["error"] for a in (await running.wait_log())[0]["attempts"]] == ["stream_error", ""]


async def test_error_after_comments_still_falls_back(gateway: StartGateway) -> None:
    """Comments before the first event do not decide anything."""
    bad = stream([b": hi\n\n", bodies.event({"error": {"message": "no", "code": 503}})])
    async with Upstream([bad]) as first, Upstream([bodies.chat_sse("b")]) as second:
        running = await gateway(llm_conf(endpoint(first, fallback=True), endpoint(second)))
        assert (await running.chat(stream=True)).body == b"".join(bodies.chat_events("b"))


async def test_error_in_the_first_event_of_the_last_endpoint_is_passed_on(gateway: StartGateway) -> None:
    """With nothing left to try, the endpoint's own words are the best answer."""
    async with Upstream([bodies.error_sse("engine is overloaded")]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        assert b"engine is overloaded" in (await running.chat(stream=True)).body


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_stream_that_breaks_before_its_first_event_falls_back(gateway: StartGateway, how: str) -> None:
    """Only a head came: the client has seen nothing, so another endpoint may answer."""
    async with Upstream([stream([], then=how)]) as first, Upstream([bodies.chat_sse("b")]) as second:
        running = await gateway(llm_conf(endpoint(first, fallback=True), endpoint(second)))
        assert (await running.chat(stream=True)).body == b"".join(bodies.chat_events("b"))


async def test_nothing_is_tried_again_after_the_first_event(gateway: StartGateway) -> None:
    """What the client has seen cannot be taken back, and no text comes twice."""
    async with Upstream([bodies.cut_sse("a")]) as first, Upstream([]) as second:
        running = await gateway(llm_conf(endpoint(first, fallback=True, retry=3), endpoint(second)))
        assert (await running.chat(stream=True)).body.count(b"a0") == 1
        assert len(first.requests) == 1


async def test_stream_with_content_length_is_a_stream(gateway: StartGateway) -> None:
    """The media type makes a stream, not the framing."""
    body = b"".join(bodies.chat_events("a"))
    async with Upstream(actions.respond(200, [SSE], body)) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        assert (await running.chat(stream=True)).body == body


async def test_many_streams_do_not_mix(gateway: StartGateway) -> None:
    """Fifty at once, each gets its own."""
    async with Upstream(lambda seen: bodies.chat_sse(seen.json()["user"], words=20)) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        replies = await asyncio.gather(*(running.chat(stream=True, user=f"u{n}-") for n in range(50)))
        for n, reply in enumerate(replies):
            assert reply.body == b"".join(bodies.chat_events(f"u{n}-", 20))
