"""Rules of an upstream connection: every byte in order, bounded memory, honest errors, and reuse only when it is safe."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
import pytest_asyncio

from pixiu_py.errors import ClientGone, UpstreamError, UpstreamProtocolError, UpstreamReset, UpstreamTimeout
from pixiu_py.http.passage import Passage
from pixiu_py.upstream.connection import UpstreamConnection
from pixiu_py.upstream.protocol import READ_LIMIT
from pixiu_py.upstream.response import UpstreamResponse
from tests.fakes.exchange import ListSink
from tests.fakes.peer import PATIENCE, Peer, SlowSink, start
from tests.fakes.wire import LAST_CHUNK, chunk

OK = b"HTTP/1.1 200 OK\r\n"
WHOLE = OK + b"Content-Length: 2\r\n\r\nok"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest_asyncio.fixture
async def peer() -> AsyncIterator[Peer]:
    async with Peer() as peer:
        yield peer


async def response_to(connection: UpstreamConnection, first_byte: float = 0.0, idle: float = 0.0) -> UpstreamResponse:
    """The response head."""
    async with asyncio.timeout(PATIENCE):
        return await connection.response(first_byte, idle)


async def piped(connection: UpstreamConnection) -> bytes:
    """The whole body of the response."""
    sink = ListSink()
    async with asyncio.timeout(PATIENCE):
        await (await response_to(connection)).pipe(sink)
    assert sink.finished
    return sink.content


async def read_into(response: UpstreamResponse, sink: ListSink) -> None:
    """The body by pulling."""
    while piece := await response.read():
        sink.write(piece)
    sink.finish()


def framed(framing: str, body: bytes, rng: random.Random) -> list[bytes]:
    """A response in odd pieces."""
    if framing == "chunked":
        wire, left = CHUNKED, body
        while left:
            size = rng.choice((1, 2, 15, 16, 1000, 70_000))
            wire, left = wire + chunk(left[:size]), left[size:]
        wire += LAST_CHUNK
    else:
        wire = OK + (b"Content-Length: %d\r\n\r\n" % len(body) if framing == "length" else b"\r\n") + body
    cuts = sorted(rng.sample(range(len(wire)), 20))
    return [wire[start:end] for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True)]


# --- bodies, piped ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
async def test_body_arrives_byte_for_byte(peer: Peer, framing: str) -> None:
    """Whatever the framing, and however the network cuts it."""
    rng = random.Random(framing)
    body = rng.randbytes(300_000)
    connection = await peer.ask()
    reading = start(piped(connection))
    for piece in framed(framing, body, rng):
        peer.send(piece)
        await asyncio.sleep(0)
    if framing == "close":
        peer.close()
    assert await reading == body
    assert peer.owner.released == ([] if framing == "close" else [connection])


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest.mark.parametrize("size", [1, READ_LIMIT, READ_LIMIT * 8])
async def test_what_came_before_the_sink_is_kept_in_order(peer: Peer, framing: str, size: int) -> None:
    """Also when it is more than the parser takes at once: it pauses, and goes on where it was."""
    body = random.Random(size).randbytes(size)
    connection = await peer.ask()
    peer.send(*framed(framing, body, random.Random(1)) if size > 20 else [CHUNKED, chunk(body), LAST_CHUNK])
    if framing == "close":
        peer.close()
    response = await response_to(connection)
    if size > READ_LIMIT * 2:
        async with asyncio.timeout(PATIENCE):
            await connection.parser_paused.wait()
        assert not connection.transport.is_reading()
    sink = ListSink()
    async with asyncio.timeout(PATIENCE):
        await response.pipe(sink)
    assert sink.content == body


async def test_head_and_body_in_one_segment_are_one_write(peer: Peer) -> None:
    """The sink gets everything with ``finish``, and has no reason to send the head by itself."""
    connection = await peer.ask()
    peer.send(WHOLE)
    response = await response_to(connection)
    sink = ListSink()
    await response.pipe(sink)
    assert (sink.chunks, sink.head_flushed, response.length) == ([b"ok"], False, 2)


async def test_head_goes_out_when_the_body_takes_its_time(peer: Peer) -> None:
    """A client waits for the head no longer than for the endpoint's head."""
    connection = await peer.ask()
    peer.send(CHUNKED)
    response = await response_to(connection)
    sink = SlowSink(room=9)
    piping = start(response.pipe(sink))
    await asyncio.wait_for(sink.head_flushed.wait(), PATIENCE)
    peer.send(chunk(b"late"), LAST_CHUNK)
    await asyncio.wait_for(piping, PATIENCE)
    assert sink.content == b"late"


async def test_chunk_is_relayed_before_the_next_one_comes(peer: Peer) -> None:
    """From the event of the transport itself: no task has to be woken for it."""
    connection = await peer.ask()
    peer.send(CHUNKED)
    response = await response_to(connection)
    sink = SlowSink()
    piping = start(response.pipe(sink))
    peer.send(chunk(b"one"))
    await asyncio.wait_for(sink.full.wait(), PATIENCE)
    assert sink.content == b"one"
    sink.opened.set()
    peer.send(LAST_CHUNK)
    await asyncio.wait_for(piping, PATIENCE)


@pytest.mark.parametrize("before", [False, True], ids=["piping", "before the sink"])
async def test_very_many_tiny_chunks_arrive(peer: Peer, before: bool) -> None:
    """aiohttp stops parsing after so many of them, although they are small; and it remembers the end of each."""
    connection = await peer.ask()
    peer.send(CHUNKED)
    response = await response_to(connection)
    body = bytes(range(250)) * 400
    tiny = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
    if before:
        peer.send(tiny)
        await asyncio.wait_for(connection.parser_paused.wait(), PATIENCE)
    sink = SlowSink(room=2**31)
    piping = start(response.pipe(sink))
    peer.send(b"" if before else tiny, chunk(b"last"))
    async with asyncio.timeout(PATIENCE):
        while not sink.content.endswith(b"last"):
            await asyncio.sleep(0.001)
    assert not connection._payload._http_chunk_splits
    peer.send(LAST_CHUNK)
    await asyncio.wait_for(piping, PATIENCE)
    assert sink.content == body + b"last"


async def test_full_sink_stops_the_endpoint(peer: Peer) -> None:
    """A client that does not read: nothing more is fetched, until there is room again."""
    size = 2**25
    connection = await peer.ask()
    peer.send(OK + b"Content-Length: %d\r\n\r\n" % size, bytes(size))
    sink = SlowSink()
    piping = start((await response_to(connection)).pipe(sink))
    await asyncio.wait_for(sink.full.wait(), PATIENCE)
    assert not connection.transport.is_reading()
    waiting = -1
    while waiting != (waiting := peer.writer.transport.get_write_buffer_size()):
        await asyncio.sleep(0.05)  # that nothing happens has no event
    assert waiting > size // 2
    assert len(sink.content) <= READ_LIMIT * 3
    sink.opened.set()
    await asyncio.wait_for(piping, PATIENCE)
    assert sink.content == bytes(size)


async def test_full_sink_gets_no_parser_backlog(peer: Peer) -> None:
    """What the parser had put aside is handed over piece by piece as well, and the socket stays shut meanwhile."""
    body = bytes(READ_LIMIT * 16)
    connection = await peer.ask()
    peer.send(CHUNKED, *(chunk(body[:1000]) for _ in range(len(body) // 1000)), LAST_CHUNK)
    response = await response_to(connection)
    await asyncio.wait_for(connection.parser_paused.wait(), PATIENCE)
    sink = SlowSink(room=2)
    piping = start(response.pipe(sink))
    await asyncio.sleep(0)
    assert sink.full.is_set()
    assert not connection.transport.is_reading()
    sink.opened.set()
    await asyncio.wait_for(piping, PATIENCE)
    assert len(sink.content) == len(body) // 1000 * 1000


class ClientTransport:
    """Writes for ``Client``, as uvloop's does: a closed one raises."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def write(self, data: bytes) -> None:
        if self._client.closing:
            raise RuntimeError("the handler is closed")
        self._client.sent += data


class Client:
    """A client's connection, and a sink that lets chunks pass to it."""

    def __init__(self) -> None:
        self.sent = b""
        self.room_for = 1000
        self.closing = False
        self.drained = asyncio.Event()
        self.exchange = SimpleNamespace(bytes_sent=0)

    @property
    def _paused(self) -> bool:
        return len(self.sent) > self.room_for

    def passage(self) -> Passage:
        return Passage(cast(Any, self), cast(Any, ClientTransport(self)), cast(Any, self.exchange))

    def write(self, data: bytes) -> bool:
        if self.closing:
            raise ClientGone("the client closed its connection")
        self.sent += data
        return not self._paused

    async def drain(self) -> None:
        await self.drained.wait()

    def flush_head(self) -> None:
        """There is none."""

    def finish(self, data: bytes = b"") -> None:
        self.sent += data + b"."


async def passing(peer: Peer) -> tuple[UpstreamConnection, Client, asyncio.Task[None]]:
    """A response whose chunks have begun to go past the sink: one to it, the others in their framing."""
    connection = await peer.ask()
    client = Client()
    peer.send(CHUNKED)
    piping = start((await response_to(connection, idle=PATIENCE)).pipe(client))
    await asyncio.sleep(0)
    for word in (b"one", b"two", b"three"):
        connection.data_received(chunk(word))
    assert client.sent == b"one" + chunk(b"two") + chunk(b"three")
    return connection, client, piping


async def test_chunk_that_passes_the_sink_is_counted_and_prolongs_the_limit(peer: Peer) -> None:
    """It goes on in its framing; the end comes the usual way."""
    connection, client, piping = await passing(peer)
    connection._deadline.moved = False
    connection.data_received(chunk(b"four"))
    assert connection._deadline.moved
    connection.data_received(LAST_CHUNK)
    await asyncio.wait_for(piping, PATIENCE)
    assert client.sent == b"one" + chunk(b"two") + chunk(b"three") + chunk(b"four") + b"."
    assert client.exchange.bytes_sent == 12
    assert peer.owner.released == [connection]


async def test_client_that_is_slow_stops_what_passes_the_sink(peer: Peer) -> None:
    """The endpoint is not read until there is room, and nothing is lost or out of order then."""
    connection, client, piping = await passing(peer)
    client.room_for = len(client.sent)
    connection.data_received(chunk(b"full"))
    assert connection.transport is not None
    assert not connection.transport.is_reading()
    connection.data_received(chunk(b"more") + LAST_CHUNK)
    assert client.sent.endswith(chunk(b"full"))
    client.room_for = 1000
    client.drained.set()
    await asyncio.wait_for(piping, PATIENCE)
    assert client.sent.endswith(chunk(b"full") + b"more.")


async def test_nothing_passes_to_a_client_that_has_gone(peer: Peer) -> None:
    """The sink is asked, and says so."""
    connection, client, piping = await passing(peer)
    client.closing = True
    connection.data_received(chunk(b"more"))
    with pytest.raises(ClientGone):
        await asyncio.wait_for(piping, PATIENCE)
    assert client.exchange.bytes_sent == 8
    await peer.lost()


async def test_sink_that_fails_ends_the_connection(peer: Peer) -> None:
    """The client has gone: what it was to get is not fetched any further."""

    class Gone(ListSink):
        def write(self, chunk: bytes) -> bool:
            raise ClientGone("the client closed its connection")

    connection = await peer.ask()
    peer.send(CHUNKED, chunk(b"x"))
    with pytest.raises(ClientGone):
        await (await response_to(connection)).pipe(Gone())
    await peer.lost()


# --- responses without a body, interim responses ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_options", "head", "length"),
    [
        ({"with_body": False}, OK + b"Content-Length: 5\r\n\r\n", 5),
        ({"with_body": False}, CHUNKED, 0),
        ({}, b"HTTP/1.1 204 No Content\r\n\r\n", None),
        ({}, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 5),
        ({}, OK + b"Content-Length: 0\r\n\r\n", 0),
    ],
    ids=["HEAD", "HEAD chunked", "204", "304", "empty"],
)
async def test_response_without_body_is_complete_at_its_head(
    peer: Peer, request_options: dict[str, bool], head: bytes, length: int | None
) -> None:
    """Whatever length it announces; and the connection is at once free for the next request."""
    connection = await peer.ask(**request_options)
    peer.send(head)
    response = await response_to(connection)
    assert response.length == length
    sink = ListSink()
    await response.pipe(sink)
    assert (sink.content, peer.owner.released) == (b"", [connection])


async def test_body_of_the_next_request_is_expected_again(peer: Peer) -> None:
    """After a HEAD a GET, and the other way round, over one connection."""
    connection = await peer.ask(with_body=False)
    for with_body in (False, True, False, True):
        if connection.served:
            connection.send(b"next", with_body=with_body)
        peer.send(OK + b"Content-Length: 2\r\n\r\n" + (b"ok" if with_body else b""))
        assert await piped(connection) == (b"ok" if with_body else b"")
    assert connection.served == 4


async def test_interim_responses_are_passed_over(peer: Peer) -> None:
    """100, 102 and 103 are not the answer, in one segment with it or alone."""
    connection = await peer.ask()
    peer.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
    answer = start(piped(connection))
    await asyncio.sleep(0)
    peer.send(b"HTTP/1.1 102 Processing\r\n\r\n" + WHOLE)
    assert await answer == b"ok"


# --- reuse ------------------------------------------------------------------------------------------------------------


async def test_connection_serves_one_request_after_the_other(peer: Peer) -> None:
    """It goes back to its owner with every complete response."""
    connection = await peer.ask()
    for number in range(1, 4):
        peer.send(WHOLE)
        assert await piped(connection) == b"ok"
        assert (connection.served, len(peer.owner.released)) == (number, number)
        connection.send(b"next")
    assert await peer.received(8) == b"nextnext"


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        WHOLE + b"HTTP/1.1 2",
        CHUNKED + chunk(b"ok") + LAST_CHUNK + b"HTT",
    ],
    ids=["close", "1.0", "surplus after length", "surplus after chunks"],
)
async def test_connection_is_closed_when_the_endpoint_wants_that_or_said_too_much(peer: Peer, answer: bytes) -> None:
    """Bytes beyond the response would be taken for the beginning of the next one."""
    connection = await peer.ask()
    peer.send(answer)
    assert await piped(connection) == b"ok"
    await peer.lost()
    assert peer.owner.released == []


async def test_connection_whose_parser_stays_paused_is_closed(peer: Peer) -> None:
    """aiohttp pauses after very many chunks, be it the last: it would then stop in the midst of the next response."""
    connection = await peer.ask()
    count = READ_LIMIT // 16 + 1
    connection.data_received(CHUNKED + chunk(b".") * count + LAST_CHUNK)
    assert await piped(connection) == b"." * count
    await peer.lost()
    assert peer.owner.released == []


async def test_connection_is_closed_after_an_early_response(peer: Peer) -> None:
    """The request is not complete: its rest, or its missing rest, would be taken for the next one."""
    connection = await peer.ask(uploading=True)
    peer.send(WHOLE)
    assert await piped(connection) == b"ok"
    await peer.lost()
    assert peer.owner.released == []


async def test_connection_is_kept_after_a_complete_upload(peer: Peer) -> None:
    """Sent in pieces or not: a whole request and a whole response."""
    connection = await peer.ask(uploading=True)
    await connection.upload(b"piece")
    connection.uploaded()
    peer.send(WHOLE)
    assert await piped(connection) == b"ok"
    assert peer.owner.released == [connection]


@pytest.mark.parametrize(("answer", "kept"), [(WHOLE, True), (WHOLE[:-1], False)], ids=["complete", "not complete"])
async def test_response_that_nobody_wants(peer: Peer, answer: bytes, kept: bool) -> None:
    """Complete already: the connection is kept. Else it is closed: the rest could be long."""
    connection = await peer.ask()
    peer.send(answer)
    (await response_to(connection)).abort()
    if not kept:
        await peer.lost()
    assert peer.owner.released == [connection] * kept


async def test_unasked_bytes_close_an_idle_connection(peer: Peer) -> None:
    """Endpoint and gateway disagree about where a response ends: no further request goes there."""
    connection = await peer.ask()
    peer.send(WHOLE)
    await piped(connection)
    peer.send(WHOLE)
    await peer.lost()
    assert connection.transport is None


async def test_ended_response_leaves_the_next_user_alone(peer: Peer) -> None:
    """The connection may be in other hands before the one who piped has been told of the end."""
    connection = await peer.ask()
    peer.send(CHUNKED)
    response = await response_to(connection)
    piping = start(response.pipe(ListSink()))
    await asyncio.sleep(0)
    second: list[asyncio.Future[bytes]] = []

    def take_over(connection: UpstreamConnection) -> None:
        peer.owner.released.append(connection)
        if not second:
            connection.send(b"next")
            second.append(start(piped(connection)))

    peer.owner.release = take_over  # type: ignore[method-assign]
    peer.send(LAST_CHUNK)
    assert await peer.received(4) == b"next"
    piping.cancel()  # its body is complete, so this is nobody else's business
    await asyncio.wait((piping,))
    response.abort()
    peer.send(WHOLE)
    assert await asyncio.wait_for(second[0], PATIENCE) == b"ok"


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize(("sent", "seen"), [(b"", False), (b"HTTP/1.1 2", True)], ids=["nothing", "half a head"])
async def test_end_before_the_head_is_a_reset(peer: Peer, end: str, sent: bytes, seen: bool) -> None:
    """Whether anything had come tells whether the request may safely be sent over a fresh connection."""
    connection = await peer.ask()
    peer.send(sent)
    if end == "close":
        peer.close()
    else:
        await peer.reset()
    with pytest.raises(UpstreamReset) as caught:
        await response_to(connection)
    assert caught.value.bytes_seen is seen
    await peer.lost()


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("framing", [b"Content-Length: 9", b"Transfer-Encoding: chunked"])
@pytest.mark.parametrize("how", ["pipe", "read"])
async def test_body_that_breaks_off_is_a_reset(peer: Peer, end: str, framing: bytes, how: str) -> None:
    """What had come is handed on first; a part is never taken for the whole."""
    connection = await peer.ask()
    peer.send(OK + framing + b"\r\n\r\n", chunk(b"part") if b"chunked" in framing else b"part")
    response = await response_to(connection)
    sink = ListSink()
    async with asyncio.timeout(PATIENCE):
        await response.ready(PATIENCE)
        if end == "close":
            peer.close()
        else:
            await peer.reset()
        with pytest.raises(UpstreamReset) as caught:
            await (response.pipe(sink) if how == "pipe" else read_into(response, sink))
    assert (sink.content, sink.finished, caught.value.bytes_seen) == (b"part", False, True)
    await peer.lost()


async def test_reset_without_length_is_no_end(peer: Peer) -> None:
    """A body that ends with its connection ends with a proper close only."""
    connection = await peer.ask()
    peer.send(OK + b"\r\npart")
    response = await response_to(connection)
    await response.ready(PATIENCE)
    await peer.reset()
    with pytest.raises(UpstreamReset):
        await asyncio.wait_for(response.pipe(ListSink()), PATIENCE)


@pytest.mark.parametrize("end", ["close", "reset"])
async def test_response_that_is_whole_survives_what_comes_after(peer: Peer, end: str) -> None:
    """A server that slams the door after its last byte has answered all the same."""
    connection = await peer.ask()
    peer.send(WHOLE)
    response = await response_to(connection)
    if end == "close":
        peer.close()
    else:
        await peer.reset()
    await peer.lost()
    sink = ListSink()
    await asyncio.wait_for(response.pipe(sink), PATIENCE)
    assert (sink.content, sink.finished) == (b"ok", True)


@pytest.mark.parametrize(
    "answer",
    [b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", CHUNKED + b"xyz\r\n", WHOLE + WHOLE, WHOLE + b" surplus"],
    ids=["no HTTP", "no status", "no chunk", "two responses", "wrong length"],
)
async def test_what_is_no_http_is_a_protocol_error(peer: Peer, answer: bytes) -> None:
    """Whatever aiohttp's parser calls it."""
    connection = await peer.ask()
    peer.send(answer)
    with pytest.raises(UpstreamProtocolError):
        await piped(connection)
    await peer.lost()


async def test_request_over_a_closed_connection_is_a_reset(peer: Peer) -> None:
    """Nothing was seen, so a fresh connection may be tried."""
    connection = await peer.connect()
    connection.abort()
    connection.send(b"x")
    with pytest.raises(UpstreamReset) as caught:
        await response_to(connection)
    assert not caught.value.bytes_seen
    with pytest.raises(UpstreamReset):
        await connection.upload(b"x")


async def test_aborted_body_without_length_is_not_complete(peer: Peer) -> None:
    """The gateway itself ends the connection (its pool closes): that is no proper end of the body."""
    connection = await peer.ask()
    peer.send(OK + b"\r\npart")
    response = await response_to(connection)
    piping = start(response.pipe(sink := SlowSink(9)))
    await asyncio.sleep(0)
    connection.abort()
    with pytest.raises(UpstreamReset):
        await asyncio.wait_for(piping, PATIENCE)
    assert not sink.finished


# --- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("phase", "sent"), [("first_byte", b""), ("idle", OK + b"Content-Length: 9\r\n\r\npart")])
async def test_silence_ends_the_attempt(peer: Peer, phase: str, sent: bytes) -> None:
    """Before the head, and within the body."""
    connection = await peer.ask()
    peer.send(sent)
    started = time.monotonic()
    with pytest.raises(UpstreamTimeout) as caught:
        await (await response_to(connection, **{"first_byte": 0.0, "idle": 0.0, phase: 0.03})).pipe(ListSink())
    assert caught.value.phase == phase
    assert time.monotonic() - started > 0.025
    await peer.lost()


async def test_idle_time_counts_from_the_last_byte(peer: Peer) -> None:
    """A slow stream may last much longer than its idle limit."""
    connection = await peer.ask()
    peer.send(CHUNKED)
    response = await response_to(connection, idle=0.2)
    piping = start(response.pipe(sink := ListSink()))
    for _ in range(6):
        peer.send(chunk(b"."))
        await asyncio.sleep(0.05)
    peer.send(LAST_CHUNK)
    await asyncio.wait_for(piping, PATIENCE)
    assert sink.content == b"......"


async def test_idle_time_does_not_count_while_the_client_is_slow(peer: Peer) -> None:
    """The endpoint cannot send: its silence says nothing."""
    size = 2**22
    connection = await peer.ask()
    peer.send(OK + b"Content-Length: %d\r\n\r\n" % size, bytes(size))
    response = await response_to(connection, idle=0.03)
    piping = start(response.pipe(sink := SlowSink()))
    await asyncio.wait_for(sink.full.wait(), PATIENCE)
    await asyncio.sleep(0.06)
    sink.opened.set()
    await asyncio.wait_for(piping, PATIENCE)
    assert sink.content == bytes(size)


async def test_kept_connection_is_closed_in_the_end(peer: Peer) -> None:
    """Nobody has used it for as long as it may be kept."""
    connection = await peer.ask()
    peer.send(WHOLE)
    await piped(connection)
    connection.keep_alive(0.02)
    await peer.lost()


async def test_kept_connection_that_is_used_again_has_the_next_requests_time(peer: Peer) -> None:
    """The timer of the pool does not strike while a request is under way."""
    connection = await peer.ask()
    peer.send(WHOLE)
    await piped(connection)
    connection.keep_alive(0.02)
    connection.send(b"next")
    answer = start(piped(connection))
    await asyncio.sleep(0.05)
    peer.send(WHOLE)
    assert await answer == b"ok"


async def test_upload_moves_the_deadline_of_the_first_byte(peer: Peer) -> None:
    """It counts from the last piece of the request."""
    connection = await peer.ask(uploading=True)
    waiting = start(response_to(connection, first_byte=0.2))
    for _ in range(6):
        await asyncio.sleep(0.05)
        await connection.upload(b"piece")
    with pytest.raises(UpstreamTimeout):
        await waiting


async def test_timer_that_has_just_struck_can_be_moved(peer: Peer) -> None:
    """uvloop makes a timer of less than half a millisecond a plain callback, which cannot say when it is due."""
    connection = await peer.connect()
    connection.keep_alive(0.0001)
    connection.keep_alive(60)
    connection.keep_alive(0.01)
    await peer.lost()


# --- bodies, read -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
async def test_body_can_be_read(peer: Peer, framing: str) -> None:
    """Piece by piece, also above what the parser takes at once."""
    body = random.Random(2).randbytes(READ_LIMIT * 4)
    connection = await peer.ask()
    peer.send(*framed(framing, body, random.Random(3)))
    if framing == "close":
        peer.close()
    response = await response_to(connection)
    async with asyncio.timeout(PATIENCE):
        assert await response.read_all(2**30) == body
        assert await response.read() == b""
    assert len(peer.owner.released) == (framing != "close")


async def test_long_body_is_let_go_of(peer: Peer) -> None:
    """Above the limit nothing is kept, and the connection is closed."""
    connection = await peer.ask()
    peer.send(OK + b"Content-Length: 1000\r\n\r\n" + bytes(500))
    response = await response_to(connection)
    assert await asyncio.wait_for(response.read_all(499), PATIENCE) is None
    await peer.lost()


@pytest.mark.parametrize("size", [1, 100_000])
async def test_what_was_only_looked_at_is_piped_first(peer: Peer, size: int) -> None:
    """``unread`` gives it back; nothing is lost, doubled or out of order, also when the sink is full at once."""
    connection = await peer.ask()
    peer.send(CHUNKED, chunk(b"looked at"))
    response = await response_to(connection)
    held = await asyncio.wait_for(response.read(), PATIENCE)
    response.unread(held)
    peer.send(chunk(b"x" * size), LAST_CHUNK)
    sink = SlowSink()
    sink.opened.set()
    await asyncio.wait_for(response.pipe(sink), PATIENCE)
    assert sink.content == b"looked at" + b"x" * size


async def test_unread_bytes_are_read_again(peer: Peer) -> None:
    """The last put back is the first to be read."""
    connection = await peer.ask()
    peer.send(WHOLE)
    response = await response_to(connection)
    assert await response.read() == b"ok"
    response.unread(b"ok")
    response.unread(b"> ")
    assert await response.ready(0)
    assert await response.read_all(99) == b"> ok"


@pytest.mark.parametrize("wait", [0.0, 0.0003, 0.01, 0.0107])
async def test_readiness_is_waited_for_no_longer_than_asked(peer: Peer, wait: float) -> None:
    """Silence is no error; what comes later can still be read."""
    connection = await peer.ask()
    peer.send(CHUNKED)
    response = await response_to(connection)
    for _ in range(5):
        assert await asyncio.wait_for(response.ready(wait), PATIENCE) is False
    peer.send(chunk(b"x"))
    assert await asyncio.wait_for(response.ready(PATIENCE), PATIENCE) is True
    assert await response.read() == b"x"


async def test_broken_response_is_never_ready(peer: Peer) -> None:
    """With nothing left to read there is only the error."""
    connection = await peer.ask()
    peer.send(CHUNKED)
    response = await response_to(connection)
    peer.close()
    with pytest.raises(UpstreamReset):
        await asyncio.wait_for(response.ready(PATIENCE), PATIENCE)


async def test_response_can_be_piped_once(peer: Peer) -> None:
    """A second time, or after it was let go of, there is nothing to send."""
    connection = await peer.ask()
    peer.send(WHOLE)
    response = await response_to(connection)
    await response.pipe(ListSink())
    with pytest.raises(UpstreamReset):
        await response.pipe(ListSink())
    with pytest.raises(UpstreamReset):
        _ = response.connection


# --- cancellation -----------------------------------------------------------------------------------------------------


async def _in_response(connection: UpstreamConnection, peer: Peer) -> None:
    await connection.response(0, 0)


async def _in_pipe(connection: UpstreamConnection, peer: Peer) -> None:
    peer.send(CHUNKED)
    await (await connection.response(0, 0)).pipe(SlowSink(9))


async def _in_drain(connection: UpstreamConnection, peer: Peer) -> None:
    peer.send(CHUNKED, chunk(b"x"))
    await (await connection.response(0, 0)).pipe(SlowSink())


async def _in_drain_of_unread(connection: UpstreamConnection, peer: Peer) -> None:
    peer.send(CHUNKED)
    response = await connection.response(0, 0)
    response.unread(b"x")
    await response.pipe(SlowSink())


async def _in_read(connection: UpstreamConnection, peer: Peer) -> None:
    peer.send(CHUNKED)
    await (await connection.response(0, 0)).read()


async def _in_ready(connection: UpstreamConnection, peer: Peer) -> None:
    peer.send(CHUNKED)
    await (await connection.response(0, 0)).ready(PATIENCE)


@pytest.mark.parametrize("stage", [_in_response, _in_pipe, _in_drain, _in_drain_of_unread, _in_read, _in_ready])
async def test_cancelling_closes_the_connection(peer: Peer, stage) -> None:  # type: ignore[no-untyped-def]
    """Wherever it hits: the endpoint stops working for nobody, and nothing is left open."""
    connection = await peer.ask()
    task = start(stage(connection, peer))
    await asyncio.sleep(0.02)  # until it waits; that nothing more happens has no event
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await peer.lost()


async def test_upload_waits_for_room_and_hears_of_the_end(peer: Peer) -> None:
    """Back-pressure towards the client; and no wait that outlives the connection."""
    connection = await peer.ask(uploading=True)

    async def upload_for_ever() -> None:
        while True:
            await connection.upload(bytes(2**20))

    uploading = start(upload_for_ever())
    async with asyncio.timeout(PATIENCE):
        while not connection.writing_paused:
            await asyncio.sleep(0.001)
    connection.abort()
    with pytest.raises(UpstreamError):
        await asyncio.wait_for(uploading, PATIENCE)


# --- upgrades ---------------------------------------------------------------------------------------------------------


async def test_bytes_behind_a_101_belong_to_the_tunnel(peer: Peer) -> None:
    """In the same segment, before the tunnel starts, and after; and its end is an empty piece."""
    connection = await peer.ask()
    peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nfirst")
    response = await response_to(connection)
    assert response.status == 101
    peer.send(b"second")
    pieces: list[bytes] = []
    ended = asyncio.Event()

    def receive(data: bytes) -> None:
        pieces.append(data)
        if not data:
            ended.set()

    connection.start_tunnel(receive)
    peer.send(b"third")
    peer.close()
    await asyncio.wait_for(ended.wait(), PATIENCE)
    assert (b"".join(pieces), pieces[-1]) == (b"firstsecondthird", b"")
    assert peer.owner.released == []


async def test_tunnel_over_a_lost_connection_ends_at_once(peer: Peer) -> None:
    """What had come is still passed on."""
    connection = await peer.ask()
    peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nlast")
    await response_to(connection)
    connection.abort()
    await peer.lost()
    pieces: list[bytes] = []
    connection.start_tunnel(pieces.append)
    assert pieces == [b"last", b""]
