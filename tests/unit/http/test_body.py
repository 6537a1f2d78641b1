"""Rules of bodies: read whole or streamed, within limits of size and time, and the client is asked for it once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from pixiu_py.errors import BodyTimeout, BodyTooLarge, DownstreamError
from pixiu_py.http.body import GeneratorBody, RequestBody, take_buffered
from tests.fakes.exchange import ListSink, make_body
from tests.fakes.peer import PATIENCE, SlowSink, start


class Source(StreamReader):
    """The client's end: what it has sent so far."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        protocol = BaseProtocol(loop)
        protocol.transport = asyncio.Transport()
        super().__init__(protocol, 2**20, loop=loop)


def body_of(*pieces: bytes, length: int | None = None, idle_timeout: float = PATIENCE) -> tuple[Source, RequestBody]:
    """A body of which these pieces have come."""
    source = Source()
    for piece in pieces:
        source.feed_data(piece)
    return source, RequestBody(source, length, idle_timeout)


async def streamed(body: RequestBody) -> list[bytes]:
    return [chunk async for chunk in body.stream()]


# --- read ------------------------------------------------------------------------------------------------------------


async def test_body_that_is_here_is_read_without_waiting() -> None:
    """The common case."""
    body = make_body(b"body")
    assert body.exists
    assert body.peek() is None
    assert await body.read(4) == b"body"
    assert (body.peek(), body.received) == (b"body", 4)
    assert await body.read(4) == b"body"


@pytest.mark.parametrize("length", [8, None])
async def test_body_that_comes_in_pieces_is_read_whole(length: int | None) -> None:
    """Declared or chunked."""
    source, body = body_of(b"one ", length=length)
    reading = start(body.read(8))
    await asyncio.sleep(0)
    source.feed_data(b"two ")
    source.feed_eof()
    assert await reading == b"one two "


async def test_request_without_body() -> None:
    """Nothing to wait for."""
    body = RequestBody(EMPTY_PAYLOAD, 0)
    assert (body.exists, await body.read(0), await streamed(body)) == (False, b"", [])


async def test_declared_length_above_the_limit_is_refused_unread() -> None:
    """Nothing of it is taken, and the client is not asked to send it."""
    source = Source()
    body = RequestBody(source, 5, send_continue=lambda: pytest.fail("asked"))
    with pytest.raises(BodyTooLarge):
        await body.read(4)
    assert body.received == 0


@pytest.mark.parametrize("complete", [False, True])
async def test_length_that_nobody_declared_is_limited_too(complete: bool) -> None:
    """Chunked: refused as soon as it is too long, and no longer kept."""
    source, body = body_of(b"123", b"45")
    if complete:
        source.feed_eof()
    with pytest.raises(BodyTooLarge):
        await asyncio.wait_for(body.read(4), PATIENCE)


async def test_rest_of_a_refused_body_is_no_body() -> None:
    """A filter may forgive the 413; the next one must not take what is left for the whole."""
    source, body = body_of(b"12345")
    with pytest.raises(BodyTooLarge):
        await body.read(4)
    source.feed_data(b"rest")
    source.feed_eof()
    with pytest.raises(BodyTooLarge):
        await body.read(1000)
    with pytest.raises(BodyTooLarge):
        await streamed(body)


async def test_limit_of_the_second_reader_counts() -> None:
    """Although the body is here already."""
    body = make_body(b"12345")
    assert await body.read(5) == b"12345"
    with pytest.raises(BodyTooLarge):
        await body.read(4)


# --- streamed ----------------------------------------------------------------------------------------------------------


async def test_stream_gives_pieces_as_they_come() -> None:
    """And remembers none of them."""
    source, body = body_of(b"one", b"two")
    pieces = body.stream()
    assert await anext(pieces) == b"onetwo"
    source.feed_data(b"three")
    assert await anext(pieces) == b"three"
    source.feed_eof()
    with pytest.raises(StopAsyncIteration):
        await anext(pieces)
    assert (body.peek(), body.received) == (None, 11)


@pytest.mark.parametrize("content", [b"body", b""])
async def test_body_that_was_read_can_be_streamed(content: bytes) -> None:
    """From memory, as often as one likes."""
    body = make_body(content)
    await body.read(10)
    assert await streamed(body) == await streamed(body) == [content] * bool(content)


# --- waiting -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["read", "stream"])
async def test_silent_client_is_not_waited_for_for_ever(how: str) -> None:
    """``read_timeout`` is a limit of silence."""
    _, body = body_of(b"half", length=8, idle_timeout=0.02)
    with pytest.raises(BodyTimeout):
        await asyncio.wait_for(body.read(99) if how == "read" else streamed(body), PATIENCE)


async def test_slow_client_may_take_its_time() -> None:
    """Each piece gives it the whole time again."""
    source, body = body_of(idle_timeout=0.2)
    reading = start(body.read(99))
    for _ in range(6):
        await asyncio.sleep(0.05)
        source.feed_data(b".")
    source.feed_eof()
    assert await reading == b"......"


async def test_malformed_body_is_the_clients_fault() -> None:
    """Whatever aiohttp calls it."""
    source, body = body_of(b"half")
    reading = start(body.read(99))
    await asyncio.sleep(0)
    source.set_exception(ValueError("not a chunk"))
    with pytest.raises(DownstreamError):
        await asyncio.wait_for(reading, PATIENCE)


async def test_cancelling_a_read_is_a_cancellation() -> None:
    """And no fault of the client's."""
    _, body = body_of()
    reading = start(body.read(99))
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait((reading,))
    assert reading.cancelled()


async def test_waiting_client_is_told_once_and_only_when_the_body_is_wanted() -> None:
    """``Expect: 100-continue`` (RFC 9110 section 10.1.1)."""
    told: list[int] = []
    source = Source()
    body = RequestBody(source, 4, send_continue=lambda: told.append(1))
    reading = start(body.read(4))
    await asyncio.sleep(0)
    assert (told, body.send_continue) == ([1], None)
    source.feed_data(b"body")
    source.feed_eof()
    assert await reading == b"body"
    assert await streamed(body) == [b"body"]
    assert told == [1]


async def test_client_that_did_not_wait_is_not_told() -> None:
    """Its body is here: it needs no asking."""
    source = Source()
    source.feed_data(b"body")
    source.feed_eof()
    assert await RequestBody(source, 4, send_continue=lambda: pytest.fail("told")).read(4) == b"body"


# --- taking from aiohttp's buffer ------------------------------------------------------------------------------------------


async def test_everything_that_has_come_is_taken() -> None:
    """In one piece and in order; a single piece is not copied."""
    source = Source()
    assert take_buffered(source) == b""
    piece = b"x" * 1000
    source.feed_data(piece)
    assert take_buffered(source) is piece
    for part in (b"a", b"b", b"c"):
        source.feed_data(part)
    assert take_buffered(source) == b"abc"
    assert (source._size, take_buffered(source), take_buffered(EMPTY_PAYLOAD)) == (0, b"", b"")


async def test_ends_of_chunks_are_forgotten() -> None:
    """Nobody asks for them here, and they would add up over a long stream."""
    source = Source()
    source.begin_http_chunk_receiving()
    for _ in range(10):
        source.feed_data(b"x")
        source.end_http_chunk_receiving()
    assert take_buffered(source) == b"x" * 10
    assert not source._http_chunk_splits


# --- made by filters ---------------------------------------------------------------------------------------------------------


async def ticks(count: int) -> AsyncIterator[bytes]:
    for number in range(count):
        yield b"%d" % number


async def test_generated_body_is_sent_piece_by_piece() -> None:
    """With its head first, since nobody knows when the first piece comes."""
    sink = ListSink()
    await GeneratorBody(ticks(3)).pipe(sink)
    assert (sink.head_flushed, sink.chunks, sink.finished) == (True, [b"0", b"1", b"2"], True)


async def test_generated_body_waits_for_a_full_sink() -> None:
    """The generator is not asked for more meanwhile."""
    sink = SlowSink()
    piping = start(GeneratorBody(ticks(3)).pipe(sink))
    await asyncio.wait_for(sink.full.wait(), PATIENCE)
    await asyncio.sleep(0)
    assert sink.chunks == [b"0"]
    sink.opened.set()
    await asyncio.wait_for(piping, PATIENCE)
    assert sink.content == b"012"
