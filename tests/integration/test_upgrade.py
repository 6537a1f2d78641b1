"""Upgraded connections: after a 101 the bytes belong to the two ends."""

from __future__ import annotations

import asyncio

from tests.conftest import StartGateway
from tests.fakes.actions import head, respond
from tests.fakes.client import request
from tests.fakes.conf import endpoint, http_conf
from tests.fakes.upstream import Action, Connection, Request, Upstream

UPGRADE = request("GET", "/ws", {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "x"})
SWITCH = head(101, [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"), (b"Sec-WebSocket-Accept", b"y")])


def echo(greeting: bytes = b"") -> Action:
    """Switch protocols, greet in the same segment, then send everything back in capitals."""

    async def run(connection: Connection, seen: Request) -> None:
        connection.write(SWITCH + greeting)
        while data := await connection.reader.read(65536):
            connection.write(data.upper())
            await connection.drain()

    return Action(run)


async def test_bytes_flow_both_ways(gateway: StartGateway) -> None:
    """The handshake passes with its fields, and then everything, in both directions and in order."""
    async with Upstream([echo()]) as upstream:
        running = await gateway(http_conf(endpoint(upstream)))
        async with running.client() as client:
            await client.send(UPGRADE)
            reply = await client.read_head()
            assert (reply.status, reply.header("sec-websocket-accept")) == (101, b"y")
            assert (reply.header("upgrade"), reply.header("connection")) == (b"websocket", b"Upgrade")
            assert upstream.request.header("upgrade") == b"websocket"
            assert upstream.request.header("sec-websocket-key") == b"x"
            for word in (b"hello", b"\x00\x01", b"z" * 300_000):
                await client.send(word)
                assert await client.reader.readexactly(len(word)) == word.upper()


async def test_bytes_sent_with_the_handshake_are_not_lost(gateway: StartGateway) -> None:
    """An eager server greets in the segment of its 101, an eager client talks before it has read it."""
    async with Upstream([echo(b"greetings")]) as upstream:
        running = await gateway(http_conf(endpoint(upstream)))
        async with running.client() as client:
            await client.send(UPGRADE)
            await client.read_until(b"greetings")
            await client.send(b"a")
            await client.read_until(b"A")


async def test_client_that_leaves_ends_the_tunnel(gateway: StartGateway) -> None:
    """The endpoint learns of it at once."""
    async with Upstream([echo()]) as upstream:
        running = await gateway(http_conf(endpoint(upstream)))
        async with running.client() as client:
            await client.send(UPGRADE)
            await client.read_head()
        await upstream.until(lambda up: up.open == 0)


async def test_endpoint_that_leaves_ends_the_tunnel(gateway: StartGateway) -> None:
    """The client gets everything that was sent, then the end."""
    done = Action(lambda connection, seen: close_after(connection, SWITCH + b"bye"))
    async with Upstream([done]) as upstream:
        running = await gateway(http_conf(endpoint(upstream)))
        async with running.client() as client:
            await client.send(UPGRADE)
            await client.read_head()
            assert await client.read_rest() == b"bye"


async def close_after(connection: Connection, data: bytes) -> None:
    """Write and close."""
    connection.write(data)
    connection.close()


async def test_refused_upgrade_is_an_ordinary_response(gateway: StartGateway) -> None:
    """An endpoint may answer 200 or 403 instead. The client's connection ends with it, and the response says so."""
    async with Upstream([respond(403, body=b"no")]) as upstream:
        running = await gateway(http_conf(endpoint(upstream)))
        async with running.client() as client:
            await client.send(UPGRADE)
            reply = await client.read_response()
            assert (reply.status, reply.body, reply.header("connection")) == (403, b"no", b"close")
            await client.wait_closed_by_peer()


async def test_other_versions_of_http_are_not_tunnelled(gateway: StartGateway) -> None:
    """A client that spoke HTTP/2 to the endpoint would go past every route and filter: the offer stays here."""
    offer = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABk"}
    async with Upstream([respond(200)]) as upstream:
        running = await gateway(http_conf(endpoint(upstream)))
        assert (await running.request("GET", "/x", offer)).status == 200
        assert not {b"upgrade", b"connection", b"http2-settings"} & set(upstream.request.names)


async def test_slow_reader_slows_the_tunnel(gateway: StartGateway) -> None:
    """A tunnel has back-pressure too."""

    async def run(connection: Connection, seen: Request) -> None:
        connection.write(SWITCH)
        while True:
            connection.write(b"x" * 65536)
            await connection.drain()

    async with Upstream([Action(run)], send_buffer=65536) as upstream:
        running = await gateway(http_conf(endpoint(upstream)))
        async with running.client(receive_buffer=65536) as client:
            await client.send(UPGRADE)
            await client.read_head()
            await upstream.until_stalled()
            assert upstream.connections[0].sent < 2**24
            client.abort()
        async with asyncio.timeout(5):
            await upstream.client_gone.wait()
