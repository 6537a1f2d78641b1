"""Chunks that need no parser are told from everything that does."""

from __future__ import annotations

import pytest

from pixiu_py.upstream.chunks import SHORT, SHORT_CHUNKS, SHORTEST, head_size, one_chunk, whole_chunks


@pytest.mark.parametrize("framed", [b"2\r\nhi\r\n", b"A\r\n0123456789\r\n", b"a\r\n0123456789\r\n", b"02\r\n\r\n\r\n"])
def test_one_whole_chunk(framed: bytes) -> None:
    """In either case of its digits, whatever its data."""
    chunk = one_chunk(framed)
    assert chunk
    assert framed.endswith(b"\r\n" + chunk + b"\r\n")
    assert whole_chunks(framed)


@pytest.mark.parametrize(
    "framed",
    [
        b"",
        b"0\r\n\r\n",
        b"2\r\nhi\r\n2\r\nhi\r\n",
        b"3\r\nhi\r\n",
        b"1\r\nhi\r\n",
        b"2\r\nhi\n",
        b"2\nhi\r\n",
        b"2;a=b\r\nhi\r\n",
        b"2 \r\nhi\r\n",
        b"+2\r\nhi\r\n",
        b"0x2\r\nhi\r\n",
        b"2_0\r\nhi\r\n",
        b"-2\r\nhi\r\n",
        b"\r\n2\r\nhi\r\n",
        b"2\r\nhi",
        b"2\r\nhixx",
        b"00000002\r\nhi\r\n",
    ],
)
def test_anything_else_is_for_the_parser(framed: bytes) -> None:
    """Several chunks, the last one, a part of one, and other ways to write a size."""
    assert one_chunk(framed) is None


def test_whole_chunks_end_with_the_bytes() -> None:
    """Else nobody knows where the next one begins."""
    two = b"2\r\nhi\r\n1\r\n!\r\n"
    assert whole_chunks(two)
    assert whole_chunks(b"head" + two, 4)
    assert whole_chunks(b"")
    for cut in range(1, len(two)):
        assert whole_chunks(two[:cut]) is (cut == 7)
    assert not whole_chunks(two + b"0\r\n\r\n")


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nrest", 25),
        (b"HTTP/1.1 200 OK\r\nA: b\n\r\n\r\nrest", 0),
        (b"HTTP/1.1 200 OK\r\nA: b\n\nrest\r\n\r\n", 0),
        (b"HTTP/1.1 200 OK\r\nA: b\r\r\n\r\n", 0),
        (b"HTTP/1.1 200 OK\r\nA: b\r\n", 0),
    ],
)
def test_size_of_a_head(data: bytes, size: int) -> None:
    """Of one with usual line ends: the parser lets others pass, and would see the end elsewhere."""
    assert head_size(data) == size


def test_table_of_short_chunks_is_right_for_every_length() -> None:
    """A chunk that begins with its length's line is the one whole chunk that the strict reading finds."""
    known = 0
    for length, (line, begin, size) in enumerate(SHORT_CHUNKS):
        framed = line + b"x" * size + b"\r\n"
        if size:
            known += 1
            assert size >= SHORTEST
            assert (len(framed), begin, one_chunk(framed)) == (length, len(line), b"x" * size)
        else:
            assert b"x" * length != line  # nothing is taken for such a chunk
            assert not begin
    assert len(SHORT_CHUNKS) == SHORT
    assert known > SHORT - 12
