"""The way past the sinks says what it is for."""

from __future__ import annotations

from typing import Any, cast

import pytest

from pixiu_py.http.passage import Passage
from pixiu_py.upstream.chunks import SHORT_CHUNKS, SHORTEST


def passage() -> Passage:
    return Passage(cast(Any, None), cast(Any, None), cast(Any, None))


def test_any_whole_chunk_may_pass_unless_someone_asked_for_more() -> None:
    way = passage()
    assert b"2\r\nhi\r\n"[way.cut :] == way.ends


def test_only_what_ends_so_may_pass() -> None:
    """The end of an event with the framing's behind it."""
    way = passage()
    way.only(b"\n\n")
    assert b"3\r\nx\n\n\r\n"[way.cut :] == way.ends
    for other in (b"2\r\nx\n\r\n", b"4\r\nx\n\nx\r\n", b"5\r\nx\r\n\r\n\r\n"):
        assert other[way.cut :] != way.ends


def test_latest_chunks_come_in_their_order_and_without_their_framing() -> None:
    way = passage()
    assert way.latest() == []
    way.last = b"1\r\na\r\n"
    assert way.latest() == [b"a"]
    way.third, way.second, way.last = b"2\r\nx\n\r\n", b"1\r\nb\r\n", b"1\r\nc\r\n"
    assert way.latest() == [b"x\n", b"b", b"c"]


@pytest.mark.parametrize("end", [b"\n\n", b"\n\r\n", b"\r\r"])
def test_end_of_an_event_is_never_found_in_the_framing(end: bytes) -> None:
    """``1 CRLF LF CRLF`` ends like an event in its framing: chunks that are shorter than an end are not in the table."""
    way = passage()
    way.only(end)
    assert len(end) <= SHORTEST
    for size in range(SHORTEST, 20):
        framed = b"%x\r\n%b\r\n" % (size, end[-1:] * (size - len(end)) + end)
        line, begin, known = SHORT_CHUNKS[len(framed)]
        assert (framed[:begin], known) == (line, size)
        assert begin - way.cut <= len(framed)
