"""Rules of a response on the wire: framing, the fewest writes, and an end that nobody can mistake."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable
from typing import Any

import pytest
import uvloop
from aiohttp.base_protocol import BaseProtocol
from multidict import CIMultiDict
from structlog.testing import capture_logs

from pixiu_py.errors import ClientGone, GatewayError
from pixiu_py.filters.base import HttpFilter
from pixiu_py.filters.chain import FilterChain
from pixiu_py.http.body import GeneratorBody
from pixiu_py.http.exchange import Response
from pixiu_py.http.headers import Headers
from pixiu_py.http.received import received
from pixiu_py.http.writer import FilterFault, ResponseWriter
from tests.fakes.exchange import make_context, make_exchange
from tests.fakes.peer import PATIENCE, start

NONE = FilterChain(())
DATE = (b"Date", b"Sat, 01 Jan 2022 00:00:00 GMT")


class Wire(asyncio.Transport):
    """A transport that keeps each write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.end = ""

    def write(self, data: Any) -> None:
        assert data, "an empty write"
        self.writes.append(data)

    def is_closing(self) -> bool:
        return bool(self.end)

    def close(self) -> None:
        self.end = self.end or "closed"

    def abort(self) -> None:
        self.end = "aborted"

    def get_write_buffer_size(self) -> int:
        return len(b"".join(self.writes))


class Line(ResponseWriter):
    """A writer on such a transport."""

    def __init__(self, method: str = "GET", version: tuple[int, int] = (1, 1), keep_alive: bool = True, **more: Any):
        self.wire = Wire()
        self.connection = BaseProtocol(asyncio.get_running_loop())
        self.connection.transport = self.wire
        self.exchange = make_exchange(method)
        self.exchange.request.version = version
        super().__init__(self.connection, self.exchange, more.get("drain_timeout", 0), keep_alive)

    @property
    def head(self) -> list[bytes]:
        """The lines of the head, Date left out."""
        return [line for line in self.sent.split(b"\r\n\r\n")[0].split(b"\r\n") if not line.startswith(b"Date: ")]

    @property
    def sent(self) -> bytes:
        return b"".join(self.wire.writes)

    @property
    def content(self) -> bytes:
        """What follows the head."""
        return self.sent.partition(b"\r\n\r\n")[2]


class Pieces:
    """A body in pieces, of this length if any. Counts how often it was let go of."""

    def __init__(self, *pieces: bytes, length: int | None = None, finish: bytes = b"") -> None:
        self.length = length
        self.aborts = 0
        self._pieces = pieces
        self._finish = finish

    async def pipe(self, sink: Any) -> None:
        for piece in self._pieces:
            sink.write(piece)
        sink.finish(self._finish)

    def abort(self) -> None:
        self.aborts += 1


def response(body: Any = b"", status: int = 200, *fields: tuple[bytes, bytes], reason: str = "") -> Response:
    return Response(status, Headers(fields or [DATE]), body, reason)


async def sent(body: Any, status: int = 200, chain: FilterChain = NONE, **line: Any) -> Line:
    """A line over which this response has been sent."""
    writer = Line(**line)
    writer.exchange.entered = len(chain.filters)
    await writer.send(response(body, status), chain)
    return writer


# --- writes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"body", Pieces(finish=b"body", length=4), Pieces(b"body", length=4)])
async def test_head_and_body_are_one_write(body: Any) -> None:
    """Whether the body is at hand or comes in one piece."""
    line = await sent(body)
    assert len(line.wire.writes) == 1
    assert line.sent == b"HTTP/1.1 200 OK\r\nDate: %b\r\nContent-Length: 4\r\n\r\nbody" % DATE[1]
    assert (line.finished, line.keep_alive, line.exchange.bytes_sent) == (True, True, 4)


async def test_each_chunk_is_one_write() -> None:
    """The first with the head, the last with the end, when they are known by then."""
    line = await sent(Pieces(b"one", b"two", finish=b"three"))
    assert [write.partition(b"chunked\r\n\r\n")[2] or write for write in line.wire.writes] == [
        b"3\r\none\r\n",
        b"3\r\ntwo\r\n",
        b"5\r\nthree\r\n0\r\n\r\n",
    ]
    assert line.exchange.bytes_sent == 11


async def test_piece_is_not_copied_when_nothing_has_to_be_added() -> None:
    """Of a body with a length, all but the first."""
    piece = b"x" * 1000
    line = await sent(Pieces(b"one", piece, length=1003))
    assert line.wire.writes[1] is piece


async def test_head_can_go_first() -> None:
    """Once; an empty body then needs its end only."""
    line = Line()

    class Late(Pieces):
        async def pipe(self, sink: Any) -> None:
            sink.flush_head()
            sink.flush_head()
            sink.finish()

    await line.send(response(Late()), NONE)
    assert [len(line.wire.writes), line.wire.writes[1]] == [2, b"0\r\n\r\n"]


async def test_empty_chunk_is_no_end() -> None:
    """A body's producer may have nothing to say; a chunk of no bytes would end the body (RFC 9112 section 7.1)."""

    async def pieces() -> Any:
        for piece in (b"a", b"", b"b"):
            yield piece

    line = await sent(GeneratorBody(pieces()))
    assert line.content == b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n"


class Framed:
    """A body whose chunks come with their framing, the second in an unusual one."""

    def __init__(self, length: int | None = None) -> None:
        self.length = length

    async def pipe(self, sink: Any) -> None:
        assert sink.write_framed(b"3\r\none\r\n", b"one")
        assert sink.write_framed(b"03\r\ntwo\r\n", b"two")
        sink.finish()

    def abort(self) -> None:
        """Nothing to let go of."""


async def test_chunk_keeps_the_framing_in_which_it_came() -> None:
    """Unless it goes out with the head: that is one write all the same."""
    line = await sent(Framed())
    assert line.content == b"3\r\none\r\n03\r\ntwo\r\n0\r\n\r\n"
    assert (len(line.wire.writes), line.exchange.bytes_sent) == (3, 6)


async def test_framing_is_dropped_where_the_client_gets_none() -> None:
    """The length is known, or the client speaks HTTP/1.0, or a filter changes the body."""
    assert (await sent(Framed(length=6))).content == b"onetwo"
    assert (await sent(Framed(), version=(1, 0))).content == b"onetwo"
    assert (await sent(Framed(), chain=upper())).content.startswith(b"3\r\nONE\r\n3\r\nTWO\r\n")


async def test_passage_is_granted_where_a_chunk_would_go_out_as_it_came() -> None:
    """Not before the head has gone, nor where there is no such framing, nor past a filter that has a say."""

    class Asking:
        def __init__(self, length: int | None = None) -> None:
            self.length = length
            self.granted: list[bool] = []

        async def pipe(self, sink: Any) -> None:
            self.granted.append(sink.passage() is not None)
            sink.write(b"one")
            self.granted.append(sink.passage() is not None)
            sink.finish(b"two" if self.length else b"")

        def abort(self) -> None:
            """Nothing to let go of."""

    async def granted(length: int | None = None, **options: Any) -> list[bool]:
        body = Asking(length)
        await sent(body, **options)
        return body.granted

    assert await granted() == [False, True]
    assert await granted(6) == [False, False]
    assert await granted(version=(1, 0)) == [False, False]
    assert await granted(chain=upper()) == [False, False]


async def test_first_byte_is_noted_once() -> None:
    """For the access log."""
    line = Line()
    assert (line.started, line.exchange.first_byte) == (False, 0.0)
    line._prepare(response(), None)
    line.flush_head()
    first = line.exchange.first_byte
    line.write(b"x")
    assert line.started
    assert 0 < first == line.exchange.first_byte


# --- framing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [(1, 0), (1, 1)])
@pytest.mark.parametrize("length", [4, None])
@pytest.mark.parametrize("keep_alive", [True, False])
async def test_framing_fits_the_clients_version(version: tuple[int, int], length: int | None, keep_alive: bool) -> None:
    """HTTP/1.0 knows no chunks: there a body without a length ends with its connection."""
    line = await sent(Pieces(b"body", length=length), version=version, keep_alive=keep_alive)
    old = version == (1, 0)
    framing = b"Content-Length: 4" if length else b"Transfer-Encoding: chunked"
    kept = keep_alive and (bool(length) or not old)
    expected = [b"HTTP/1.1 200 OK"]
    if length or not old:
        expected.append(framing)
    if not kept:
        expected.append(b"Connection: close")
    elif old:
        expected.append(b"Connection: keep-alive")
    assert line.head == expected
    assert line.content == (b"body" if length or old else b"4\r\nbody\r\n0\r\n\r\n")
    assert line.keep_alive is kept


@pytest.mark.parametrize(
    ("method", "status", "length", "stated"),
    [("HEAD", 200, 5, True), ("HEAD", 200, None, False), ("GET", 304, 5, True), ("GET", 204, 5, False)],
)
@pytest.mark.parametrize("at_hand", [False, True])
async def test_bodiless_response_ends_at_its_head(
    method: str, status: int, length: int | None, stated: bool, at_hand: bool
) -> None:
    """RFC 9110 section 8.6: HEAD and 304 may state a length, 204 must not. What was to be the body is let go of."""
    body = Pieces(b"12345", length=length)
    line = await sent(b"12345" if at_hand else body, status, method=method)
    assert line.content == b""
    assert b"Transfer-Encoding: chunked" not in line.head
    assert (b"Content-Length: 5" in line.head) is (status != 204 if at_hand else stated)
    assert (line.finished, line.keep_alive, body.aborts, line.exchange.bytes_sent) == (True, True, not at_hand, 0)


async def test_switch_of_protocols() -> None:
    """A 101 has no framing, names the protocol, and the connection serves no further request."""
    line = Line()
    line.exchange.request.upgrade = "websocket"
    fields = [(b"Connection", b"upgrade"), (b"Upgrade", b"websocket"), (b"Sec-WebSocket-Accept", b"x")]
    await line.send(response(Pieces(b"frame"), 101, *fields), NONE)
    assert line.head == [
        b"HTTP/1.1 101 Switching Protocols",
        b"Sec-WebSocket-Accept: x",
        b"Connection: Upgrade",
        b"Upgrade: websocket",
    ]
    assert (line.content, line.keep_alive) == (b"frame", False)


@pytest.mark.parametrize("pieces", [(b"12345",), (b"123", b"45"), (b"123",)])
async def test_body_that_does_not_fit_its_length_is_an_error(pieces: tuple[bytes, ...]) -> None:
    """Too long would run into the next response, too short would swallow it."""
    line = Line()
    with pytest.raises(GatewayError):
        await line.send(response(Pieces(*pieces, length=4)), NONE)
    assert not line.finished
    assert len(line.content) <= 4


# --- head -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("added", [(), ((b"X-B", b"2"),), (DATE, (b"x-request-id", b"theirs")), ((b"X-B", b"2"), DATE)])
async def test_fields_that_were_added_to_a_known_head_are_sent(added: tuple[tuple[bytes, bytes], ...]) -> None:
    """Behind its own, each time; there is one Date and one id, whoever brings them; the next one has none of it."""
    head = received(((b"X-A", b"1"), (b"Connection", b"close")), CIMultiDict([("X-A", "1"), ("Connection", "close")]))
    for fields in (added, ()):
        headers = head.headers()
        for field in fields:
            headers.append(field)
        line = Line()
        line.exchange.request_id = "ours"
        await line.send(Response(200, headers, b"x"), NONE)
        block = b"".join(b"%b: %b\r\n" % field for field in ((b"X-A", b"1"), *fields))
        assert line.sent.startswith(b"HTTP/1.1 200 OK\r\n" + block)
        assert line.sent.lower().count(b"\r\ndate:") == line.sent.lower().count(b"\r\nx-request-id:") == 1


@pytest.mark.parametrize(("fields", "dates"), [((DATE,), 1), (((b"date", b"x"),), 1), (((b"X-A", b"1"),), 1)])
async def test_there_is_one_date(fields: tuple[tuple[bytes, bytes], ...], dates: int) -> None:
    """The endpoint's own, or a new one (RFC 9110 section 6.6.1)."""
    line = Line()
    await line.send(response(b"", 200, *fields), NONE)
    assert line.sent.lower().count(b"\r\ndate: ") == dates


@pytest.mark.parametrize("own", [False, True])
async def test_there_is_one_request_id(own: bool) -> None:
    """The endpoint's own, or the request's."""
    line = Line()
    line.exchange.request_id = "mine"
    await line.send(response(b"", 200, *[(b"X-Request-Id", b"its")] * own), NONE)
    assert [row for row in line.head if b"request-id" in row.lower()] == [
        b"X-Request-Id: its" if own else b"x-request-id: mine"
    ]


@pytest.mark.parametrize(("status", "reason"), [(200, ""), (299, "Fine")])
async def test_status_and_reason_are_the_endpoints(status: int, reason: str) -> None:
    """The status is noted for the access log, too."""
    line = Line()
    await line.send(response(b"", status, reason=reason), NONE)
    assert (line.head[0], line.exchange.status) == (f"HTTP/1.1 {status} {reason or 'OK'}".encode(), status)


# --- filters ----------------------------------------------------------------------------------------------------------


class Upper(HttpFilter):
    """Rewrites, and adds a last word."""

    def encode_chunk(self, exchange: Any, chunk: bytes) -> bytes:
        return chunk.upper() if chunk != b"drop" else b""

    def encode_end(self, exchange: Any) -> bytes:
        return b"!"


class Looking(HttpFilter):
    """Only looks."""

    rewrites_body = False

    def __init__(self) -> None:
        super().__init__(None, make_context())
        self.seen: list[bytes] = []

    def encode_chunk(self, exchange: Any, chunk: bytes) -> bytes:
        self.seen.append(chunk)
        return chunk


def upper() -> FilterChain:
    return FilterChain([Upper(None, make_context())])


@pytest.mark.parametrize(("body", "wire"), [(b"body", b"BODY!"), (b"", b"!")])
async def test_body_at_hand_is_rewritten_before_its_length_is_stated(body: bytes, wire: bytes) -> None:
    """An empty one too: a filter may have something to add."""
    line = await sent(body, chain=upper())
    assert b"Content-Length: %d" % len(wire) in line.head
    assert (line.content, line.exchange.bytes_sent) == (wire, len(wire))


async def test_rewritten_stream_has_no_length() -> None:
    """Chunk by chunk; what a filter swallows is not sent, what it held back comes last."""
    line = await sent(Pieces(b"one", b"drop", length=7, finish=b"two"), chain=upper())
    assert line.content == b"3\r\nONE\r\n4\r\nTWO!\r\n0\r\n\r\n"


async def test_filter_that_only_looks_leaves_the_length() -> None:
    """And sees everything."""
    looking = Looking()
    line = await sent(Pieces(b"one", length=6, finish=b"two"), chain=FilterChain([looking]))
    assert b"Content-Length: 6" in line.head
    assert (line.content, looking.seen) == (b"onetwo", [b"one", b"two"])


async def test_filter_that_was_not_entered_sees_nothing() -> None:
    """A local reply of the first filter does not pass the second."""
    looking, line = Looking(), Line()
    await line.send(response(b"body"), FilterChain([looking]))
    assert looking.seen == []


@pytest.mark.parametrize("hook", ["encode_chunk", "encode_end"])
@pytest.mark.parametrize("body", [b"body", Pieces(b"body")])
async def test_fault_of_a_filter_is_told_apart(hook: str, body: Any) -> None:
    """Whatever it raised; the endpoint is not to blame."""

    def fail(self: Any, *_: Any) -> bytes:
        raise KeyError("x")

    chain = FilterChain([type("Faulty", (HttpFilter,), {hook: fail})(None, make_context())])
    with capture_logs() as logs, pytest.raises(FilterFault):
        await sent(body, chain=chain)
    assert logs[0]["event"] == f"filter failed in {hook}"


# --- the client's end -------------------------------------------------------------------------------------------------


async def test_full_client_is_waited_for() -> None:
    """``write`` says so, ``drain`` waits."""
    line = Line()
    line._prepare(response(), None)
    assert line.write(b"one")
    line.connection.pause_writing()
    assert not line.write(b"two")
    draining = start(line.drain())
    await asyncio.sleep(0)
    assert not draining.done()
    line.connection.resume_writing()
    await asyncio.wait_for(draining, PATIENCE)


@pytest.mark.parametrize("gone", ["closing", "lost"])
async def test_client_that_has_gone_is_not_written_to(gone: str) -> None:
    """The one who relays must hear of it."""
    line = Line()
    line._prepare(response(), None)
    if gone == "lost":
        line.connection.transport = None
    else:
        line.wire.close()
    with pytest.raises(ClientGone):
        line.write(b"x")
    if gone == "lost":
        with pytest.raises(ClientGone):
            await line.drain()
    assert line.wire.writes == []


async def test_client_that_goes_while_it_is_waited_for() -> None:
    """The wait ends at once."""
    line = Line()
    line.connection.pause_writing()
    draining = start(line.drain())
    await asyncio.sleep(0)
    line.connection.connection_lost(ConnectionResetError())
    with pytest.raises(ClientGone):
        await asyncio.wait_for(draining, PATIENCE)


async def test_client_that_reads_nothing_is_given_up() -> None:
    """With an abort: a close would wait for ever until everything has been sent."""
    line = Line(drain_timeout=0.02)
    line._prepare(response(), None)
    line.write(b"x" * 100)
    line.connection.pause_writing()
    with pytest.raises(ClientGone):
        await asyncio.wait_for(line.drain(), PATIENCE)
    assert line.wire.end == "aborted"


async def test_client_that_reads_slowly_is_not_given_up() -> None:
    """The limit is one of silence, never a total: each byte that it takes gives it the whole time again."""
    line = Line(drain_timeout=0.03)
    line._prepare(response(), None)
    for _ in range(10):
        line.write(b"x" * 100)
    line.connection.pause_writing()
    draining = start(line.drain())
    for _ in range(8):
        await asyncio.sleep(0.015)
        line.wire.writes.pop()
    assert not draining.done()
    line.connection.resume_writing()
    await asyncio.wait_for(draining, PATIENCE)


@pytest.mark.parametrize(
    ("body", "version", "end"),
    [(Pieces(b"x"), (1, 1), "closed"), (Pieces(b"x", length=9), (1, 1), "closed"), (Pieces(b"x"), (1, 0), "aborted")],
)
async def test_unfinished_body_ends_so_that_it_shows(body: Pieces, version: tuple[int, int], end: str) -> None:
    """Missing chunks or bytes tell by themselves; a body that ends with its connection has to be reset."""
    line = Line(version=version)
    line._prepare(response(), body.length)
    line.write(b"x")
    line.abort()
    assert (line.wire.end, line.keep_alive) == (end, False)
    line.connection.transport = None
    line.abort()


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_body_without_length_is_reset_on_the_wire(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """Closing the socket alone would look like a proper end."""

    async def run() -> None:
        here, there = _tcp_pair()
        loop = asyncio.get_running_loop()
        reader, client = await asyncio.open_connection(sock=there)
        _, connection = await loop.create_connection(lambda: BaseProtocol(loop), sock=here)
        exchange = make_exchange()
        exchange.request.version = (1, 0)
        writer = ResponseWriter(connection, exchange, 0, True)
        writer._prepare(response(), None)
        writer.write(b"part")
        await reader.readuntil(b"part")
        writer.abort()
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(), PATIENCE)
        client.transport.abort()
        await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(run())


def _tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        there = socket.create_connection(server.getsockname())
        here, _ = server.accept()
    for end in (here, there):
        end.setblocking(False)
    return here, there


@pytest.mark.parametrize("seed", range(5))
async def test_any_pieces_make_the_body(seed: int) -> None:
    """With and without a length, the client can put together what was written."""
    rng = random.Random(seed)
    pieces = [rng.randbytes(rng.choice((1, 7, 4096))) for _ in range(20)]
    whole = b"".join(pieces)
    assert (await sent(Pieces(*pieces, length=len(whole)))).content == whole
    rest, found = (await sent(Pieces(*pieces))).content, b""
    while rest != b"0\r\n\r\n":
        size, _, rest = rest.partition(b"\r\n")
        found, rest = found + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    assert found == whole
