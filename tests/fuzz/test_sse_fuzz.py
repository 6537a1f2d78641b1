"""Invariant: the raw bytes of all events are the stream, and the events are the same however it was split into chunks."""

from __future__ import annotations

import re
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from pixiu_py.http.sse import Event, SseParser

fragments = st.sampled_from(
    [
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"\r\r",
        b"data",
        b"event",
        b"data: ",
        b"event:",
        b":",
        b" ",
        b"a",
        b"\xef\xbb\xbf",
    ]
)
streams = st.lists(st.one_of(fragments, fragments, st.binary(max_size=3)), max_size=30).map(b"".join)
limits = st.one_of(st.just(2**20), st.integers(3, 12))


def split(stream: bytes, cuts: list[int]) -> list[bytes]:
    """The stream in chunks, which may be empty."""
    places = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [stream[begin:end] for begin, end in pairwise(places)]


def whole(stream: bytes, limit: int) -> list[Event]:
    parser = SseParser(limit)
    return parser.feed(stream) + parser.close()


def by_the_book(stream: bytes) -> list[tuple[str, bytes]]:
    """The events a browser sees: the standard's steps over the whole stream, one line at a time."""
    *lines, _unfinished = re.split(rb"\r\n|\r|\n", stream.removeprefix(b"\xef\xbb\xbf"))
    events, name, data = [], "", b""
    for line in lines:
        if not line:
            if data:
                events.append((name or "message", data[:-1]))
            name, data = "", b""
            continue
        field, colon, value = line.partition(b":")
        if colon and value.startswith(b" "):
            value = value[1:]
        if field == b"data":
            data += value + b"\n"
        elif field == b"event":
            name = value.decode(errors="replace")
    return events


@given(streams, st.lists(st.integers(0, 2**16), max_size=12), limits)
@example(b"\r\r\n", [2], 2**20)
@example(b"\xef\xbb\xbf\n", [1, 2], 3)
def test_no_byte_is_lost_and_chunks_do_not_matter(stream: bytes, cuts: list[int], limit: int) -> None:
    parser = SseParser(limit)
    events = []
    for chunk in split(stream, cuts):
        events += parser.feed(chunk)
        assert len(parser._pending) <= limit
    events += parser.close()
    assert b"".join(event.raw for event in events) == stream
    assert all(0 < len(event.raw) <= limit for event in events)
    assert events == whole(stream, limit)


@given(streams)
def test_a_browser_sees_the_same_events(stream: bytes) -> None:
    events = whole(stream, 2**20)
    assert [(event.name, event.data) for event in events if event.complete and event.data is not None] == by_the_book(
        stream
    )


@given(streams, st.integers(3, 12))
def test_a_limit_changes_only_the_events_above_it(stream: bytes, limit: int) -> None:
    unlimited = whole(stream, 2**20)
    read = [event for event in whole(stream, limit) if not event.oversized]
    assert read == [event for event in unlimited if len(event.raw) <= limit]


@given(streams, st.lists(st.integers(0, 2**16), max_size=12))
def test_an_event_that_ends_in_lf_is_never_held_back(stream: bytes, cuts: list[int]) -> None:
    parser = SseParser()
    given_out, fed = 0, b""
    for chunk in split(stream, cuts):
        fed += chunk
        given_out += len(parser.feed(chunk))
        done = [event for event in whole(fed, 2**20) if event.complete]
        if fed.endswith(b"\n"):
            assert given_out == len(done)
