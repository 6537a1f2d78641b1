"""Invariant: however it is cut, a stream passes untouched; if it breaks, a client has whole events and one error event."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any, cast

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from pixiu_py.errors import UpstreamError, UpstreamReset
from pixiu_py.filters.llm.dialect import CHAT, MESSAGES, OTHER, RESPONSES, Dialect
from pixiu_py.filters.llm.proxy.stream import EventStreamBody, EventStreamSink
from pixiu_py.http.sse import SseParser
from tests.fakes.exchange import ListSink, make_exchange

LIMIT = 40

lines = st.sampled_from(
    [b"data: x", b"data: [DONE]", b"event: e", b": ping", b'data: {"error":1}', b"data: " + b"y" * 60]
)
line_ends = st.sampled_from([b"\n", b"\r\n", b"\r"])
streams = st.lists(st.one_of(lines, line_ends, line_ends, st.binary(max_size=3)), max_size=20).map(b"".join)
cuts = st.lists(st.integers(0, 400), max_size=8)
dialects = st.sampled_from([CHAT, MESSAGES, RESPONSES, OTHER])


def chunks(stream: bytes, places: list[int]) -> list[bytes]:
    """The stream cut at these places; no chunk is empty, as the connection never writes one."""
    inside = sorted({place for place in places if 0 < place < len(stream)})
    return [stream[begin:end] for begin, end in pairwise([0, *inside, len(stream)]) if begin < end]


class Scripted:
    """An endpoint's response in these pieces."""

    length = None

    def __init__(self, pieces: list[bytes], breaks: bool) -> None:
        self._pieces, self._breaks = pieces, breaks

    async def pipe(self, sink: Any) -> None:
        last = b""
        for piece in self._pieces:
            if last:
                sink.write(last)
            last = piece
        if self._breaks:
            if last:
                sink.write(last)
            raise UpstreamReset
        sink.finish(last)


def received(pieces: list[bytes], breaks: bool, dialect: Dialect) -> tuple[bytes, bool]:
    """What the client got, and whether its response was finished."""
    sink = ListSink()
    body = EventStreamBody(cast(Any, Scripted(pieces, breaks)), dialect, make_exchange(), LIMIT)
    try:
        asyncio.run(body.pipe(cast(Any, sink)))
    except UpstreamError:
        return sink.content, False
    return sink.content, sink.finished


@settings(deadline=None)
@given(streams, cuts)
def test_every_byte_passes_in_order(stream: bytes, places: list[int]) -> None:
    sink = ListSink()
    events = EventStreamSink(cast(Any, sink), LIMIT)
    for chunk in chunks(stream, places):
        events.write(chunk)
        assert stream.startswith(sink.content)
        assert len(events.last_events) >= len(events._rest) <= LIMIT
    assert sink.content + events.take_rest() == stream
    assert b"" not in sink.chunks


@settings(deadline=None)
@given(streams, cuts, dialects)
def test_whole_stream_is_untouched_or_gets_an_error(stream: bytes, places: list[int], dialect: Dialect) -> None:
    content, finished = received(chunks(stream, places), False, dialect)
    if finished and content == stream:
        assert dialect.complete(stream) or not stream
    else:
        assert_broken(stream, content, finished, dialect)


@settings(deadline=None)
@given(streams, cuts, dialects)
def test_broken_stream_ends_in_an_error_or_breaks_too(stream: bytes, places: list[int], dialect: Dialect) -> None:
    content, finished = received(chunks(stream, places), True, dialect)
    if finished and content == stream:
        assert dialect.ended(stream)
    else:
        assert_broken(stream, content, finished, dialect)


def assert_broken(stream: bytes, content: bytes, finished: bool, dialect: Dialect) -> None:
    """The client has the beginning of the stream; if its response is finished, then whole events and one error event."""
    if not finished:
        assert stream.startswith(content)
        return
    event = dialect.error_event("upstream closed the connection", "reset")
    if not content.endswith(event):
        event = dialect.error_event("upstream ended the stream before it was complete", "truncated")
    assert content.endswith(event)
    kept = content[: -len(event)]
    assert stream.startswith(kept)
    assert not any(mark in stream[len(kept) :] for mark in (b"\n\n", b"\r\r", b"\n\r\n")), "a whole event was left out"
    parser = SseParser()
    seen = [found for found in parser.feed(content) if found.data is not None] + parser.close()
    assert "error" in orjson.loads(seen[-1].data) or orjson.loads(seen[-1].data)["type"] == "error"
    assert seen[-1].complete
