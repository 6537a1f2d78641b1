"""Rules of a client's connection: one request after the other, errors as JSON, and time limits."""

from __future__ import annotations

import asyncio

import orjson
import pytest
from structlog.testing import capture_logs

from pixiu_py.http.connection import RawRequest
from tests.fakes.client import PATIENCE, Client, request
from tests.fakes.downstream import OK, serving

GET = request("GET", "/")


# --- requests ---------------------------------------------------------------------------------------------------------


async def test_connection_serves_request_after_request() -> None:
    """As long as the handler says so."""
    async with serving() as running, Client(running.port) as client:
        for count in range(1, 4):
            assert (await client.request("GET", "/")).body == b"ok"
            assert len(running.handled) == count
        assert len({raw.protocol for raw in running.handled}) == 1


async def test_pipelined_requests_are_handled_one_by_one() -> None:
    """In order; the second waits for the first."""
    order: list[str] = []

    async def handle(raw: RawRequest) -> bool:
        order.append(f"begin {raw.head.target}")
        await asyncio.sleep(0.01)
        order.append(f"end {raw.head.target}")
        raw.protocol.transport.write(OK)
        return True

    async with serving(handle) as running, Client(running.port) as client:
        await client.send(request("GET", "/1") + request("GET", "/2"))
        for _ in range(2):
            assert (await client.read_response()).status == 200
    assert order == ["begin /1", "end /1", "begin /2", "end /2"]


async def test_very_many_pipelined_requests_are_all_answered() -> None:
    """More than aiohttp queues: it stops reading, and goes on."""
    async with serving() as running, Client(running.port) as client:
        await client.send(GET * 300)
        for _ in range(300):
            assert (await client.read_response()).status == 200


CHUNKED = b"POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"


async def test_trailer_is_no_field_of_the_next_request() -> None:
    """aiohttp's parser adds the last one to it: a proxy in front that checks fields, but no trailers, would be deceived."""
    async with serving() as running, Client(running.port) as client:
        for _ in range(3):
            await client.send(CHUNKED + b"X-User: admin\r\n\r\n")
            assert (await client.read_response()).status == 200
            assert (await client.request("GET", "/")).status == 200
        assert not any("x-user" in raw.head.headers() for raw in running.handled)
        assert len(running.handled) == 6


@pytest.mark.parametrize("beginning", [GET, GET[:10], b"\r"])
async def test_request_right_behind_a_chunked_one_is_not_trusted(beginning: bytes) -> None:
    """It has gone through the same parser; the client may ask again on another connection."""
    async with serving() as running, Client(running.port) as client:
        await client.send(CHUNKED + b"X-User: admin\r\n\r\n" + beginning)
        assert (await client.read_response()).status == 200
        await client.wait_closed_by_peer()
        assert len(running.handled) == 1


async def test_handler_ends_the_connection() -> None:
    """After its response has gone out."""

    async def handle(raw: RawRequest) -> bool:
        raw.protocol.transport.write(OK)
        return False

    async with serving(handle) as running, Client(running.port) as client:
        await client.send(GET + GET)
        assert (await client.read_response()).body == b"ok"
        await client.wait_closed_by_peer()
        assert len(running.handled) == 1


async def test_fault_of_the_handler_ends_its_connection_only() -> None:
    """It is logged, and nobody waits for a response that will not come."""

    async def handle(raw: RawRequest) -> bool:
        if raw.head.target == "/bad":
            raise KeyError("x")
        raw.protocol.transport.write(OK)
        return True

    async with serving(handle) as running, Client(running.port) as client, Client(running.port) as other:
        with capture_logs() as logs:
            await client.send(request("GET", "/bad"))
            await client.wait_closed_by_peer()
        assert (logs[0]["event"], logs[0]["log_level"]) == ("handler failed", "error")
        assert (await other.request("GET", "/")).status == 200


async def test_client_that_leaves_cancels_its_request() -> None:
    """At once, and the handler is waited for."""
    cancelled = asyncio.Event()

    async def handle(raw: RawRequest) -> bool:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return True

    async with serving(handle) as running:
        async with Client(running.port) as client:
            await client.send(GET)
            await running.until(lambda: bool(running.handled))
        await asyncio.wait_for(cancelled.wait(), PATIENCE)
        await asyncio.wait_for(running.server.all_closed(), PATIENCE)


async def test_handler_that_reads_the_body_hears_of_the_end() -> None:
    """Also one that reads it from another task, which is not cancelled with the request."""
    heard: list[BaseException] = []

    async def handle(raw: RawRequest) -> bool:
        reading = asyncio.get_running_loop().create_task(raw.payload.readany())
        try:
            await asyncio.wait((reading,))
        finally:
            await asyncio.wait((reading,))
            heard.append(reading.exception())
        return True

    async with serving(handle) as running:
        async with Client(running.port) as client:
            await client.send(request("POST", "/", {"Content-Length": "5"}))
            await running.until(lambda: bool(running.handled))
            client.abort()
        await running.until(lambda: bool(heard))
    assert isinstance(heard[0], ConnectionError)


# --- what is left of a body -------------------------------------------------------------------------------------------


async def test_unread_body_is_read_and_dropped() -> None:
    """So that the client sees the response, and its next request is not taken for the rest."""
    async with serving() as running, Client(running.port) as client:
        await client.send(request("POST", "/", {"Content-Length": "200000"}))
        assert (await client.read_response()).status == 200
        await client.send(b"x" * 200000)
        assert (await client.request("GET", "/")).status == 200
        assert len(running.handled) == 2


@pytest.mark.parametrize("rest", [b"", b"not a chunk\r\n"])
async def test_body_that_does_not_end_ends_the_connection(rest: bytes) -> None:
    """Too slow, or malformed: where the next request would begin is unknown."""
    async with serving(lingering_time=0.02) as running, Client(running.port) as client:
        await client.send(request("POST", "/", {"Transfer-Encoding": "chunked"}) + rest)
        assert (await client.read_response()).status in (200, 400)
        await client.read_rest()
        await asyncio.wait_for(running.server.all_closed(), PATIENCE)


async def test_interim_response() -> None:
    """Written when the handler asks for it."""

    async def handle(raw: RawRequest) -> bool:
        raw.protocol.send_continue()
        await raw.payload.readany()
        raw.protocol.transport.write(OK)
        return True

    async with serving(handle) as running, Client(running.port) as client:
        await client.send(request("POST", "/", {"Expect": "100-continue", "Content-Length": "1"}))
        assert (await client.read_head()).status == 100
        await client.send(b"x")
        assert (await client.read_response()).status == 200


# --- malformed requests -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX-A: b\0c\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00", 400),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX-A: " + b"x" * 9000 + b"\r\n\r\n", 431),
    ],
)
async def test_malformed_request_is_refused_in_json(sent: bytes, status: int) -> None:
    """Without a traceback, and the connection ends: where the next request would begin is unknown."""
    async with serving(max_line_size=8000, max_field_size=8000) as running, Client(running.port) as client:
        with capture_logs() as logs:
            await client.send(sent)
            reply = await client.read_response()
        assert (reply.status, reply.header("content-type"), reply.header("connection")) == (
            status,
            b"application/json",
            b"close",
        )
        assert orjson.loads(reply.body)["status"] == status
        await client.wait_closed_by_peer()
        assert [entry["log_level"] for entry in logs] == ["info"]
        assert running.handled == []


async def test_malformed_request_is_refused_in_its_turn() -> None:
    """After the response to the one before."""
    go = asyncio.Event()

    async def handle(raw: RawRequest) -> bool:
        await go.wait()
        raw.protocol.transport.write(OK)
        return True

    async with serving(handle) as running, Client(running.port) as client:
        await client.send(GET)
        await running.until(lambda: bool(running.handled))
        await client.send(b"nonsense\r\n\r\n")
        await running.until(lambda: bool(running.connection._messages))
        go.set()
        assert (await client.read_response()).status == 200
        assert (await client.read_response()).status == 400
        await client.wait_closed_by_peer()


# --- limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost:", OK])
async def test_connection_without_a_request_is_closed(sent: bytes) -> None:
    """After ``keepalive_timeout``: never used, with half a head, or between two requests."""
    async with serving(keepalive_timeout=0.05) as running, Client(running.port) as client:
        if sent is OK:
            await client.request("GET", "/")
        else:
            await client.send(sent)
        await client.read_rest()
        await asyncio.wait_for(running.server.all_closed(), PATIENCE)


async def test_long_request_is_not_an_idle_connection() -> None:
    """The time between requests is limited, not theirs; and it counts anew after each."""
    go = asyncio.Event()

    async def handle(raw: RawRequest) -> bool:
        await go.wait()
        raw.protocol.transport.write(OK)
        return True

    async with serving(handle, keepalive_timeout=0.03) as running, Client(running.port) as client:
        await client.send(GET)
        await asyncio.sleep(0.06)
        go.set()
        assert (await client.read_response()).status == 200
        assert (await client.request("GET", "/")).status == 200
        await client.wait_closed_by_peer()
        await running.until(lambda: not running.server.connections)


# --- tunnels ----------------------------------------------------------------------------------------------------------


async def test_tunnel_gets_every_byte_and_the_end() -> None:
    """What had come with the request, what comes later, and one empty piece at the latest."""
    pieces: list[bytes] = []

    async def handle(raw: RawRequest) -> bool:
        ended = asyncio.Event()

        def receive(data: bytes) -> None:
            pieces.append(data)
            if data.endswith(b"end"):
                ended.set()

        raw.protocol.start_tunnel(receive)
        await ended.wait()
        raw.protocol.transport.write(OK)
        return False

    async with serving(handle) as running, Client(running.port) as client:
        await client.send(request("GET", "/", {"Connection": "upgrade", "Upgrade": "websocket"}) + b"first ")
        await running.until(lambda: bool(pieces))
        await client.send(b"then the end")
        assert (await client.read_response()).status == 200
    assert b"".join(pieces) == b"first then the end"


async def test_lost_client_ends_its_tunnel() -> None:
    """With an empty piece."""
    pieces: list[bytes] = []

    async def handle(raw: RawRequest) -> bool:
        raw.protocol.start_tunnel(pieces.append)
        await asyncio.Event().wait()
        return False

    async with serving(handle) as running:
        async with Client(running.port) as client:
            await client.send(request("GET", "/", {"Connection": "upgrade", "Upgrade": "websocket"}))
            await running.until(lambda: bool(running.handled))
        await running.until(lambda: b"" in pieces)


# --- the end ----------------------------------------------------------------------------------------------------------


async def test_connection_is_busy_from_the_moment_its_request_has_come() -> None:
    """Before its handler has begun: closing it then would lose a request that was accepted."""
    async with serving() as running, Client(running.port) as client:
        await client.request("GET", "/")
        connection = running.connection
        assert connection.idle
        connection.data_received(GET)
        assert not connection.idle
        await running.until(lambda: len(running.handled) == 2)
        await running.until(lambda: connection.idle)
