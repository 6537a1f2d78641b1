"""Rules of reading compressed bodies: any split, both meanings of deflate, never more than the limit."""

from __future__ import annotations

import gzip
import zlib

import pytest

from pixiu_py.http.inflate import Inflater, UnreadableError

TEXT = b'{"usage": {"total_tokens": 3}}' * 50


def raw_deflate(data):
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


def inflate(encoding, data, size, limit=10**6):
    inflater = Inflater(encoding, limit)
    return b"".join(inflater.feed(data[at : at + size]) for at in range(0, len(data), size))


@pytest.mark.parametrize("size", [1, 2, 7, 10**6])
@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("gzip", gzip.compress(TEXT)),
        (" GZIP ", gzip.compress(TEXT)),
        ("x-gzip", gzip.compress(TEXT)),
        ("gzip", gzip.compress(TEXT[:100]) + gzip.compress(TEXT[100:])),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", raw_deflate(TEXT)),
        ("identity", TEXT),
        ("", TEXT),
    ],
    ids=["gzip", "case", "x-gzip", "members", "zlib", "bare", "identity", "none"],
)
def test_every_split_gives_the_same(encoding, data, size):
    assert inflate(encoding, data, size) == TEXT


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip"])
def test_other_encodings_are_refused(encoding):
    with pytest.raises(UnreadableError, match="encoding"):
        Inflater(encoding, 100)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_malformed_bytes(encoding):
    with pytest.raises(UnreadableError, match="malformed"):
        Inflater(encoding, 100).feed(b"\xff" * 50)


@pytest.mark.parametrize("size", [100, 10**6])
def test_a_bomb_is_not_unpacked(size):
    bomb = gzip.compress(b"\0" * 10_000_000)
    with pytest.raises(UnreadableError, match="too_large"):
        inflate("gzip", bomb, size, limit=1000)


def test_exactly_the_limit_is_allowed():
    assert inflate("gzip", gzip.compress(TEXT), 10, limit=len(TEXT)) == TEXT
    with pytest.raises(UnreadableError, match="too_large"):
        inflate("gzip", gzip.compress(TEXT), 10, limit=len(TEXT) - 1)
