"""Rules of reading compressed bodies: any split, both meanings of deflate, never more than the limit."""

from __future__ import annotations

import gzip
import sys
import zlib

import brotli
import pytest
import zstandard

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
        ("gzip", gzip.compress(TEXT, mtime=0)),
        (" GZIP ", gzip.compress(TEXT, mtime=0)),
        ("x-gzip", gzip.compress(TEXT, mtime=0)),
        ("gzip", gzip.compress(TEXT[:100], mtime=0) + gzip.compress(TEXT[100:], mtime=0)),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", raw_deflate(TEXT)),
        ("br", brotli.compress(TEXT)),
        ("zstd", zstandard.ZstdCompressor().compress(TEXT)),
        ("identity", TEXT),
        ("", TEXT),
    ],
    ids=["gzip", "case", "x-gzip", "members", "zlib", "bare", "br", "zstd", "identity", "none"],
)
def test_every_split_gives_the_same(encoding, data, size):
    assert inflate(encoding, data, size) == TEXT


@pytest.mark.parametrize("encoding", ["compress", "br, gzip", "gzip, gzip"])
def test_other_encodings_are_refused(encoding):
    with pytest.raises(UnreadableError, match="encoding"):
        Inflater(encoding, 100)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_malformed_bytes(encoding):
    with pytest.raises(UnreadableError, match="malformed"):
        Inflater(encoding, 100).feed(b"\xff" * 50)


@pytest.mark.parametrize("size", [100, 10**6])
def test_a_bomb_is_not_unpacked(size):
    bomb = gzip.compress(b"\0" * 10_000_000)
    with pytest.raises(UnreadableError, match="too_large"):
        inflate("gzip", bomb, size, limit=1000)


def test_exactly_the_limit_is_allowed():
    assert inflate("gzip", gzip.compress(TEXT, mtime=0), 10, limit=len(TEXT)) == TEXT
    with pytest.raises(UnreadableError, match="too_large"):
        inflate("gzip", gzip.compress(TEXT, mtime=0), 10, limit=len(TEXT) - 1)


@pytest.mark.parametrize("compress", [brotli.compress, zstandard.ZstdCompressor().compress], ids=["br", "zstd"])
def test_a_bomb_of_another_library_is_not_unpacked(compress):
    """Its decoder cannot be told when to stop, so it is fed little by little."""
    encoding = "br" if compress is brotli.compress else "zstd"
    with pytest.raises(UnreadableError, match="too_large"):
        inflate(encoding, compress(b"\0" * 10_000_000), 10**6, limit=1000)


@pytest.mark.parametrize(("encoding", "package"), [("br", "brotli"), ("zstd", "zstandard")])
def test_without_its_library_an_encoding_is_unknown(encoding, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UnreadableError, match="encoding"):
        Inflater(encoding, 100)


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("gzip", gzip.compress(TEXT, mtime=0)),
        ("deflate", zlib.compress(TEXT)),
        ("br", brotli.compress(TEXT)),
        ("zstd", zstandard.ZstdCompressor().compress(TEXT)),
    ],
    ids=["gzip", "deflate", "br", "zstd"],
)
def test_it_tells_whether_the_content_has_come_to_its_end(encoding, data):
    inflater = Inflater(encoding, 10**6)
    assert inflater.finished, "nothing has come: nothing is missing"
    inflater.feed(data[:-3])
    assert not inflater.finished
    inflater.feed(data[-3:])
    assert inflater.finished
