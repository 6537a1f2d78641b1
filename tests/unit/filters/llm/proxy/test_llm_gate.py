"""A look at the beginning of an answer: what it decides, what it costs, and that nothing of it is lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from pixiu_py.errors import StreamTruncated, UpstreamReset
from pixiu_py.filters.llm.proxy.gate import Limits, refused
from pixiu_py.upstream.response import UpstreamResponse
from tests.fakes.bodies import chunk_event, event
from tests.fakes.exchange import ListSink
from tests.fakes.peer import PATIENCE, Peer, start
from tests.fakes.wire import LAST_CHUNK, chunk

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
ERROR = event({"error": {"message": "overloaded", "code": 503}})
FIRST = chunk_event("a")


@pytest_asyncio.fixture
async def peer() -> AsyncIterator[Peer]:
    async with Peer() as peer:
        yield peer


async def begun(peer: Peer, *pieces: bytes) -> UpstreamResponse:
    """A response of which these pieces have been sent."""
    connection = await peer.ask()
    peer.send(HEAD, *(chunk(piece) for piece in pieces))
    return await connection.response(0, 0)


async def look(response: UpstreamResponse, events: bool = True, seconds: float = PATIENCE, size: int = 1000):
    async with asyncio.timeout(PATIENCE * 2):
        return await refused(response, events, Limits(seconds, size), time.monotonic)


async def rest_of(response: UpstreamResponse, peer: Peer) -> bytes:
    """What the client would get."""
    peer.send(LAST_CHUNK)
    sink = ListSink()
    await asyncio.wait_for(response.pipe(sink), PATIENCE)
    return sink.content


@pytest.mark.parametrize("pieces", [[FIRST], [FIRST[:9], FIRST[9:]], [b": ping\n\n", FIRST], [FIRST + ERROR]])
async def test_stream_that_begins_well_is_sent_on(peer: Peer, pieces: list[bytes]) -> None:
    """With everything that was looked at; only the first event counts, and comments are none."""
    response = await begun(peer, *pieces)
    assert await look(response) is None
    assert await rest_of(response, peer) == b"".join(pieces)


@pytest.mark.parametrize("pieces", [[ERROR], [ERROR[:9], ERROR[9:]], [b": ping\n\n", ERROR]])
async def test_stream_that_begins_with_an_error_is_refused(peer: Peer, pieces: list[bytes]) -> None:
    """With its status and message, and what was held, in case it is the answer all the same."""
    response = await begun(peer, *pieces)
    assert await look(response) == (503, "overloaded", b"".join(pieces))


async def test_first_event_is_waited_for(peer: Peer) -> None:
    """As long as the client may be kept waiting."""
    response = await begun(peer)
    looking = start(look(response))
    await asyncio.sleep(0.01)
    assert not looking.done()
    peer.send(chunk(FIRST))
    assert await looking is None


@pytest.mark.parametrize("pieces", [[], [b": ping\n\n"], [FIRST[:9]]])
async def test_silence_is_no_error(peer: Peer, pieces: list[bytes]) -> None:
    """After the hold everything goes on as it is, whether an event, half of one or nothing has come."""
    response = await begun(peer, *pieces)
    assert await look(response, seconds=0.02) is None
    assert await rest_of(response, peer) == b"".join(pieces)


async def test_comments_do_not_prolong_the_hold(peer: Peer) -> None:
    """It is a total, not a silence."""
    response = await begun(peer)
    looking = start(look(response, seconds=0.06))
    for _ in range(100):
        peer.send(chunk(b": ping\n\n"))
        await asyncio.sleep(0.01)
        if looking.done():
            break
    assert looking.done()
    assert await looking is None


async def test_long_first_event_is_not_collected_for_ever(peer: Peer) -> None:
    """Above the limit it is sent on unread."""
    long = b"data: " + b"x" * 2000
    response = await begun(peer, long)
    assert await look(response) is None
    assert await rest_of(response, peer) == long


@pytest.mark.parametrize("pieces", [[], [b": ping\n\n"], [b"data: half"]])
async def test_stream_that_ends_before_its_first_event_has_failed(peer: Peer, pieces: list[bytes]) -> None:
    """Nothing of it is worth sending: another endpoint can do better."""
    response = await begun(peer, *pieces)
    peer.send(LAST_CHUNK)
    with pytest.raises(StreamTruncated):
        await look(response)


@pytest.mark.parametrize("events", [True, False])
async def test_answer_that_breaks_before_it_begins_has_failed(peer: Peer, events: bool) -> None:
    """Only its head came."""
    response = await begun(peer)
    looking = start(look(response, events))
    await asyncio.sleep(0)
    peer.close()
    with pytest.raises(UpstreamReset):
        await looking


async def test_other_answer_is_waited_for_and_not_read(peer: Peer) -> None:
    """The beginning of a document tells nothing about its rest."""
    response = await begun(peer, b'{"error": {"message"')
    assert await look(response, events=False) is None
    assert await rest_of(response, peer) == b'{"error": {"message"'


async def test_cancelled_look_closes_the_connection(peer: Peer) -> None:
    """The client has gone."""
    looking = start(look(await begun(peer)))
    await asyncio.sleep(0.01)
    looking.cancel()
    await asyncio.wait((looking,))
    await peer.lost()
