"""A client that leaves ends its upstream call at once: nobody pays for tokens that nobody reads."""

from __future__ import annotations

import asyncio

import pytest

from tests.conftest import StartGateway
from tests.fakes import actions, bodies
from tests.fakes.client import Client, chat_body, request
from tests.fakes.conf import endpoint, http_conf, llm_conf
from tests.fakes.upstream import Upstream, silent_port

CHAT = request("POST", "/v1/chat/completions", body=chat_body())
STREAM = request("POST", "/v1/chat/completions", body=chat_body(stream=True))
LEAVE = pytest.mark.parametrize("leave", [Client.abort, lambda client: client.writer.close()], ids=["reset", "close"])
MAKE = pytest.mark.parametrize("make", [llm_conf, http_conf])


async def gone(upstream: Upstream) -> None:
    """Wait until the endpoint has noticed."""
    async with asyncio.timeout(5):
        await upstream.client_gone.wait()


@LEAVE
@MAKE
async def test_while_waiting_for_the_first_byte(gateway: StartGateway, make: object, leave: object) -> None:
    """Streaming or not: the call that has not been answered yet is cancelled."""
    async with Upstream([actions.stall()]) as upstream:
        running = await gateway(make(endpoint(upstream)))  # type: ignore[operator]
        async with running.client() as client:
            await client.send(CHAT)
            await upstream.until_requests(1)
            leave(client)  # type: ignore[operator]
            await gone(upstream)
        assert (await running.wait_log())[0]["end"] == "client_gone"


@LEAVE
async def test_in_the_middle_of_a_stream(gateway: StartGateway, leave: object) -> None:
    """While the endpoint is silent between two events."""
    async with Upstream([actions.stream(bodies.chat_events("a")[:2], then="hold")]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        async with running.client() as client:
            await client.send(STREAM)
            await client.read_until(b"a1")
            leave(client)  # type: ignore[operator]
            await gone(upstream)
        log = (await running.wait_log())[0]
        assert (log["end"], log["status"]) == ("client_gone", 200)


async def test_in_the_middle_of_a_plain_body(gateway: StartGateway) -> None:
    """A download that nobody takes any more."""
    async with Upstream(actions.flood(2**27), send_buffer=65536) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        async with running.client(receive_buffer=65536) as client:
            await client.send(CHAT)
            await client.read_until(b"\r\n\r\n")
            await upstream.until_stalled()
            client.abort()
            await gone(upstream)


async def test_while_the_first_event_is_held(gateway: StartGateway) -> None:
    """The gate before a fallback does not outlive its client."""
    async with Upstream([actions.stream([b": hi\n\n"], then="hold")]) as upstream, Upstream([]) as other:
        running = await gateway(llm_conf(endpoint(upstream, fallback=True), endpoint(other)))
        async with running.client() as client:
            await client.send(STREAM)
            await upstream.until_requests(1)
            client.abort()
            await gone(upstream)


async def test_while_connecting(gateway: StartGateway) -> None:
    """A connection that is still being made is given up."""
    with silent_port() as port:
        running = await gateway(llm_conf(endpoint(port)))
        async with running.client() as client:
            await client.send(CHAT)
            await asyncio.sleep(0.05)  # a connection in the making has no event
            client.abort()
        assert (await running.wait_log())[0]["end"] == "client_gone"


async def test_while_uploading(gateway: StartGateway) -> None:
    """A streamed upload that breaks off breaks off upstream too."""
    async with Upstream(actions.respond(200)) as upstream:
        running = await gateway(http_conf(endpoint(upstream)))
        async with running.client() as client:
            await client.send(request("POST", "/x", {"Content-Length": "1000000"}) + b"half")
            await upstream.until_requests(1)
            client.abort()
            await gone(upstream)
        await upstream.until(lambda up: up.open == 0)


async def test_other_clients_are_not_touched(gateway: StartGateway) -> None:
    """One leaves, its neighbour's stream goes on."""
    go = asyncio.Event()
    events = [*bodies.chat_events("a")[:1], go, *bodies.chat_events("a")[1:]]
    async with Upstream(actions.stream(events)) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        async with running.client() as stays, running.client() as leaves:
            for client in (stays, leaves):
                await client.send(STREAM)
                await client.read_until(b"a0")
            leaves.abort()
            await gone(upstream)
            go.set()
            await stays.read_until(b"[DONE]")


async def test_connection_of_a_cancelled_call_is_not_used_again(gateway: StartGateway) -> None:
    """The rest of an abandoned answer never becomes somebody else's."""
    async with Upstream([actions.stream([b"data: old\n\n"], then="hold"), bodies.chat("new")]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        async with running.client() as client:
            await client.send(STREAM)
            await client.read_until(b"old")
        await gone(upstream)
        assert b"new" in (await running.chat()).body
        assert [seen.connection for seen in upstream.requests] == [1, 2]
