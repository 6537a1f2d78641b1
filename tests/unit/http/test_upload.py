"""Rules of an upload that goes past the parser: counted to the byte, slowed by a full sink, ended by whatever ends it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.streams import StreamReader

from pixiu_py.errors import BodyTimeout, DownstreamError, UpstreamReset
from pixiu_py.http.body import RequestBody
from pixiu_py.http.upload import Upload, has_left, room_or_gone
from tests.fakes.client import PATIENCE


class Downstream:
    """The client's connection, as far as an upload asks for it: whether it is read."""

    transport = None

    def __init__(self) -> None:
        self.reading = True

    def _pause_transport_reading(self) -> None:
        self.reading = False

    def _resume_transport_reading(self) -> None:
        self.reading = True


class Endpoint:
    """Takes what it is given, until it is full."""

    def __init__(self) -> None:
        self.got = b""
        self.full = False
        self.broken = False
        self.has_room = asyncio.Event()

    def write_body(self, piece: bytes) -> bool:
        if self.broken:
            raise UpstreamReset("gone")
        self.got += piece
        return not self.full

    async def room(self) -> None:
        await self.has_room.wait()


class Case:
    """An upload under way."""

    def __init__(self, left: int, idle_timeout: float) -> None:
        loop = asyncio.get_running_loop()
        self.downstream = Downstream()
        self.endpoint = Endpoint()
        self.source = StreamReader(BaseProtocol(loop), 2**16, loop=loop)
        self.body = RequestBody(self.source, left, idle_timeout)
        self.upload = Upload(self.downstream, self.source, self.body, left)  # type: ignore[arg-type]
        self.running = loop.create_task(self.upload.run(self.endpoint))

    async def feed(self, *pieces: bytes) -> None:
        await asyncio.sleep(0)
        for piece in pieces:
            assert self.upload.feed_data(piece) == (False, b"")
        await asyncio.sleep(0)

    async def end(self) -> None:
        await asyncio.wait_for(self.running, PATIENCE)


@pytest.fixture
async def case() -> AsyncIterator[Case]:
    case = Case(10, 20.0)
    yield case
    case.running.cancel()
    await asyncio.gather(case.running, return_exceptions=True)


async def test_every_byte_goes_on_and_no_more(case: Case) -> None:
    """What follows the body is kept for the next request, and no further bytes are read before that has its turn."""
    await case.feed(b"01234", b"567", b"89NEXT")
    await case.end()
    assert (case.endpoint.got, case.upload.tail, case.body.received) == (b"0123456789", b"NEXT", 10)
    assert case.source.is_eof()
    assert not case.downstream.reading


async def test_full_endpoint_stops_the_client(case: Case) -> None:
    """Until it has room."""
    case.endpoint.full = True
    await case.feed(b"01234")
    assert not case.downstream.reading
    case.endpoint.full = False
    case.endpoint.has_room.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert case.downstream.reading
    await case.feed(b"56789")
    await case.end()
    assert case.endpoint.got == b"0123456789"


async def test_endpoint_that_breaks_off_ends_it(case: Case) -> None:
    """The rest of the body is counted and thrown away, so that the connection may serve the next request."""
    await case.feed(b"01")
    case.endpoint.broken = True
    await case.feed(b"23")
    with pytest.raises(UpstreamReset):
        await case.end()
    await case.feed(b"456789", b"NEXT")
    assert (case.endpoint.got, case.upload.tail) == (b"01", b"NEXT")
    assert case.source.is_eof()


async def test_upload_that_is_given_up_while_it_waits_lets_the_client_go_on(case: Case) -> None:
    """Else the rest could not be thrown away."""
    case.endpoint.full = True
    await case.feed(b"01234")
    case.running.cancel()
    await asyncio.gather(case.running, return_exceptions=True)
    assert case.downstream.reading


async def test_client_that_leaves_ends_it(case: Case) -> None:
    """A part is not taken for the whole."""
    await case.feed(b"01234")
    case.upload.feed_eof()
    with pytest.raises(DownstreamError):
        await case.end()
    assert not case.source.is_eof()


async def test_client_that_falls_silent_is_not_waited_for() -> None:
    case = Case(10, 0.02)
    await case.feed(b"0")
    with pytest.raises(BodyTimeout):
        await case.end()


async def test_leaving_is_seen_behind_bytes_that_nobody_has_read() -> None:
    """The kernel knows, though a read would bring those bytes first."""
    ours, theirs = socket.socketpair()
    _, writer = await asyncio.open_connection(sock=ours)
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    theirs.sendall(b"unread")
    assert not has_left(writer.transport)
    theirs.close()
    assert has_left(writer.transport)
    downstream = Downstream()
    downstream.transport = writer.transport  # type: ignore[assignment]
    waiting = asyncio.get_running_loop().create_task(
        room_or_gone(Endpoint(), downstream)  # type: ignore[arg-type]
    )
    async with asyncio.timeout(PATIENCE):
        while not writer.transport.is_closing():
            await asyncio.sleep(0.01)  # the look comes by a timer
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    writer.close()
