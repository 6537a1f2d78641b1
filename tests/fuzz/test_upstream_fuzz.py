"""What a client gets of any bytes an endpoint sends is what aiohttp's parser makes of them, recognised or not."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pixiu_py.errors import UpstreamError
from pixiu_py.http.passage import Passage
from pixiu_py.upstream.connection import UpstreamConnection
from tests.fakes.exchange import FramedSink, ListSink
from tests.fakes.parsing import ParsingConnection
from tests.fakes.transport import FedTransport

WHOLE = b"HTTP/1.1 200 OK\r\ndate: Sat, 01 Jan 2022 00:00:%b GMT\r\nX-Id:%b\r\nContent-Length: %d\r\n\r\n%b"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"

#: Values of a field that may vary, with what stands around them.
_PLAIN = [b" 1", b" 22", b" a b"]
_OTHER = [
    b"",
    b"\t1",
    b" 1 ",
    b" a\tb",
    b" \xff",
    b" a\0",
    b" a\rb",
    b" 1\nX: 1",
    b" 1\r\nX: 1",
    b" 1\r\n\r\n",
    b" 1\r\nContent-Length: 1",
]
ids = st.sampled_from(_PLAIN * 8 + _OTHER)
contents = st.sampled_from([b"", b"{}", b"data: x\n\n", b"x" * 20, b"\r\n\r\n", LAST, b"2\r\nhi\r\n"])
sizes = st.sampled_from([b"%x"] * 6 + [b"%X", b"0%x", b"%x;a=b", b"%x ", b"+%x", b"0x%x", b"%x\n"])


@st.composite
def responses(draw: st.DrawFn) -> list[bytes]:
    """One response, in the pieces in which it comes."""
    if draw(st.booleans()):
        content = draw(contents)
        second = draw(st.sampled_from([b"00", b"00", b"01", b"0\0"]))
        length = len(content) + draw(st.sampled_from([0, 0, 0, 0, -1, 1])) & 255
        pieces = [WHOLE % (second, draw(ids), length, content)]
    else:
        pieces = [STREAM]
        for content in draw(st.lists(contents.filter(bool), max_size=6)):
            framed = (
                draw(sizes) % len(content) + b"\r\n" + content + draw(st.sampled_from([b"\r\n"] * 6 + [b"\n", b""]))
            )
            if draw(st.integers(0, 3)):
                pieces.append(framed)
            else:
                pieces[-1] += framed
        pieces.append(draw(st.sampled_from([LAST, LAST, LAST, b"0\r\nX: y\r\n\r\n", b""])))
    if draw(st.integers(0, 2)):
        return [piece for piece in pieces if piece]
    data = b"".join(pieces)
    inside = sorted({place for place in draw(st.lists(st.integers(1, 300), max_size=4)) if place < len(data)})
    return [data[begin:end] for begin, end in pairwise([0, *inside, len(data)]) if begin < end]


class Owner:
    """Keeps count."""

    def __init__(self) -> None:
        self.released = 0

    def release(self, connection: UpstreamConnection) -> None:
        self.released += 1

    def lost(self, connection: UpstreamConnection) -> None:
        """It was closed."""


class Passable(FramedSink):
    """Lets them pass, once it has seen one; everything ends up in one row, so that an order that was changed would show."""

    def __init__(self) -> None:
        super().__init__()
        self.passed = 0
        self._paused = False

    def passage(self) -> Passage:
        return Passage(cast(Any, self), cast(Any, PassedWire(self)), cast(Any, SimpleNamespace(bytes_sent=0)))


class PassedWire:
    """The client's transport behind a passage."""

    def __init__(self, sink: Passable) -> None:
        self._sink = sink

    def write(self, framed: bytes) -> None:
        line, _, rest = framed.partition(b"\r\n")
        assert len(rest) == int(line, 16) + 2
        self._sink.passed += 1
        self._sink.write(rest[:-2])


async def outcome(connection: UpstreamConnection, pieces: list[bytes], sink: ListSink) -> tuple[Any, ...]:
    """What came of one response."""
    connection.send(b"", b"")

    async def ask() -> tuple[Any, ...]:
        try:
            response = await connection.response(0, 0)
            head = (response.status, list(response.headers.raw), response.length, response.is_event_stream)
            await response.pipe(sink)
        except UpstreamError as error:
            return type(error).__name__, sink.content
        return head, sink.content

    task = asyncio.ensure_future(ask())  # noqa: TID251 - awaited below
    await asyncio.sleep(0)
    for piece in pieces:
        connection.data_received(piece)
        for _ in range(3):
            await asyncio.sleep(0)
    if not task.done():
        connection.connection_lost(None)
    return await task


async def run(kind: type[UpstreamConnection], make_sink: type[ListSink], sent: list[list[bytes]]) -> list[Any]:
    owner = Owner()
    connection = kind(asyncio.get_running_loop(), owner)
    wire = FedTransport()
    connection.connection_made(wire)
    seen: list[Any] = []
    for pieces in sent:
        seen.append((await outcome(connection, pieces, make_sink()), wire.closed, owner.released))
        if wire.closed or connection.transport is None:
            break
    if connection.transport is not None:
        connection.connection_lost(None)
    return seen


@pytest.mark.parametrize("make_sink", [ListSink, FramedSink, Passable])
@given(sent=st.lists(responses(), min_size=1, max_size=5))
@example(sent=[[WHOLE % (b"00", b" 1", 2, b"{}")], [WHOLE % (b"01", b" 1", 3, b"{} ")], [STREAM, b"2\r\nhi\r\n", LAST]])
@example(sent=[[STREAM + b"2\r\nhi\r\n", b"2\r\nhi\r\n", b"2\r\nh", b"i\r\n", b"2\r\nhi\r\n", LAST]])
@example(sent=[[WHOLE % (b"00", value, 2, b"{}")] for value in (b" 1", b" 2", b" 3", b" 4\r\nX: 1", b" 5")])
@example(sent=[[WHOLE % (b"00", value, 2, b"{}")] for value in (b" 1", b" 2", b" 3", b" 4\nX: 1", b" 5")])
def test_shortcuts_change_nothing(make_sink: type[ListSink], sent: list[list[bytes]]) -> None:
    assert asyncio.run(run(UpstreamConnection, make_sink, sent)) == asyncio.run(run(ParsingConnection, make_sink, sent))


def test_shortcuts_are_taken() -> None:
    """Else the test above would compare nothing."""
    taken: list[bytes] = []

    class Counting(FramedSink):
        def write_framed(self, framed: bytes, chunk: bytes) -> bool:
            taken.append(chunk)
            return super().write_framed(framed, chunk)

    sent = [
        [WHOLE % (b"00", b" 1", 2, b"{}")],
        [WHOLE % (b"01", b" 1", 2, b"[]")],
        [STREAM + b"1\r\na\r\n", b"1\r\nb\r\n", LAST],
    ]
    asyncio.run(run(UpstreamConnection, Counting, sent))
    assert taken == [b"b"]


def test_passages_are_used() -> None:
    """The same for those: the first chunk goes through the sink, and so does one that is written in an unusual way."""
    sinks: list[Passable] = []

    class Kept(Passable):
        def __init__(self) -> None:
            super().__init__()
            sinks.append(self)

    pieces = [STREAM + b"1\r\na\r\n", b"1\r\nb\r\n", b"3\r\nccc\r\n", b"A\r\n0123456789\r\n", b"3\r\nddd\r\n", LAST]
    asyncio.run(run(UpstreamConnection, Kept, [pieces]))
    (sink,) = sinks
    assert (sink.content, sink.passed) == (b"abccc0123456789ddd", 2)
