"""A response head that comes again is the one that came before, but for its length and date; anything else is parsed."""

from __future__ import annotations

import asyncio
import gc
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpResponseParser
from multidict import CIMultiDict

from pixiu_py.upstream.response_head import (
    LONGEST_KNOWN,
    KnownResponses,
    ResponseHead,
    ResponseMemory,
    content_length,
    has_other,
)

HEAD = b"HTTP/1.1 200 OK\r\ndate: Sat, 01 Jan 2022 00:00:%b GMT\r\nServer: s\r\nContent-Length: %d\r\nX-A: 1\r\n\r\n"
PLAIN = b"HTTP/1.1 200 Fine\r\nContent-Length: %d\r\n\r\n"


def message(**headers: str) -> Any:
    named = CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()})
    return SimpleNamespace(code=200, reason="OK", raw_headers=(), headers=named, chunked=False)


@pytest.mark.parametrize(("declared", "length"), [("12", 12), ("0", 0), ("", None), ("-1", None), ("1 2", None)])
def test_length_is_what_is_declared(declared: str, length: int | None) -> None:
    assert content_length(message(Content_Length=declared)) == length


@pytest.mark.parametrize("codings", [["chunked"], ["Chunked"], ["identity"], [""], ["chunked", "chunked"]])
def test_codings_that_are_taken_off(codings: list[str]) -> None:
    assert not has_other(codings)


@pytest.mark.parametrize("codings", [["gzip"], ["gzip, chunked"], ["chunked", "gzip"], ["xchunked"]])
def test_coding_that_stays_on_is_seen(codings: list[str]) -> None:
    """The client would not be told of it (RFC 9112 section 6.1)."""
    assert has_other(codings)


@pytest.mark.parametrize(("version", "closes"), [(b"1.1", False), (b"1.0", True)])
async def test_old_chunked_answer_is_the_last_one(version: bytes, closes: bool) -> None:
    """RFC 9112 section 6.1: its framing may have been meant for somebody else."""
    data = b"HTTP/%b 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n" % version
    ((parsed, _),), _, _ = Connection().parser.feed_data(data)
    assert ResponseHead(parsed).closes is closes


def test_chunked_body_has_no_length() -> None:
    chunked = message(Content_Length="5")
    chunked.chunked = True
    assert content_length(chunked) is None


class Connection:
    """A memory beside a parser, as a connection has them."""

    def __init__(self, shared: KnownResponses | None = None) -> None:
        self.memory = ResponseMemory(shared if shared is not None else KnownResponses())
        loop = asyncio.get_running_loop()
        self.parser = HttpResponseParser(
            BaseProtocol(loop), loop, 2**16, max_line_size=65536, max_field_size=65536, read_until_eof=True
        )

    def feed(self, data: bytes) -> Any:
        """What was recognised; None when the parser had to take it."""
        found = self.memory.find(data)
        if found is None:
            ((parsed, payload),), _, _ = self.parser.feed_data(data)
            self.memory.parsed(data, ResponseHead(parsed), payload)
        return found


async def test_same_head_is_recognised() -> None:
    """With everything the parser made of it."""
    connection = Connection()
    assert connection.feed(PLAIN % 2 + b"{}") is None
    head, body = connection.feed(PLAIN % 2 + b"[]")
    assert (head.status, head.reason, head.length, head.closes, body) == (200, "Fine", 2, False, b"[]")
    assert list(head.fields.headers()) == [("Content-Length", "2")]


async def test_length_and_date_may_differ() -> None:
    """They are those of the response at hand, wherever they stand."""
    connection = Connection()
    connection.feed(HEAD % (b"00", 2) + b"{}")
    for second, content in ((b"00", b"{}"), (b"01", b"{}"), (b"01", b"[1, 2, 3]"), (b"02", b"")):
        head, body = connection.feed(HEAD % (second, len(content)) + content)
        assert (head.length, body) == (len(content), content)
        assert list(head.fields.headers()) == [
            ("date", f"Sat, 01 Jan 2022 00:00:{second.decode()} GMT"),
            ("Server", "s"),
            ("Content-Length", str(len(content))),
            ("X-A", "1"),
        ]


@pytest.mark.parametrize(
    "change", [(b"Jan", b"J\0n"), (b"2022", b"20222"), (b" GMT", b""), (b"Sat", b"Sat\r\nX: 1, Sat")]
)
async def test_what_is_no_date_is_for_the_parser(change: tuple[bytes, bytes]) -> None:
    """Nothing is taken over that the parser might refuse."""
    connection = Connection()
    data = HEAD % (b"00", 2) + b"{}"
    connection.feed(data)
    assert connection.memory.find(data) is not None
    assert connection.memory.find(data.replace(*change)) is None


ID = b"HTTP/1.1 200 OK\r\nServer: s\r\nX-Id:%b\r\nContent-Length: 2\r\nX-Left: %d\r\n\r\n{}"


async def test_ids_may_differ() -> None:
    """Under whatever name; also when their lengths do."""
    connection = Connection()
    for number in range(12):
        found = connection.feed(ID % (b" a-%d" % number, number))
        assert (found is None) is (number < 2)
        if found is not None:
            assert list(found[0].fields.headers()) == [
                ("Server", "s"),
                ("X-Id", f"a-{number}"),
                ("Content-Length", "2"),
                ("X-Left", str(number)),
            ]


@pytest.mark.parametrize(
    "value", [b"", b"a", b" a ", b" \ta", b" a\tb", b" a\nX: 1", b" a\0", b" a\r", b" a\r\nX: 1", b" \xa0"]
)
async def test_value_that_is_not_plain_text_is_for_the_parser(value: bytes) -> None:
    """Nothing is taken over that it might refuse, trim or decode."""
    connection = Connection()
    for number in range(2):
        connection.feed(ID % (b" a-%d" % number, number))
    assert connection.memory.find(ID % (b" a", 1)) is not None
    assert connection.memory.find(ID % (value, 1)) is None


@pytest.mark.parametrize("name", [b"Content-Type", b"Content-Encoding", b"Connection", b"Set-Cookie"])
async def test_field_that_decides_something_never_varies(name: bytes) -> None:
    """Whether a body is a stream of events that can be read, for one."""
    connection = Connection()
    for number in range(4):
        assert connection.feed(b"HTTP/1.1 200 OK\r\n%b: a%d\r\nContent-Length: 0\r\n\r\n" % (name, number)) is None


@pytest.mark.parametrize(
    "data",
    [
        PLAIN % 3 + b"{}",
        PLAIN % 1 + b"{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: 1\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\n\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: %b\r\nContent-Length: 0\r\n\r\n" % (b"x" * LONGEST_KNOWN),
    ],
)
async def test_what_is_not_learnt(data: bytes) -> None:
    """Parts of responses, bodies without a length, unusual line ends, heads whose length means something else."""
    memory = ResponseMemory(KnownResponses())
    loop = asyncio.get_running_loop()
    parser = HttpResponseParser(
        BaseProtocol(loop), loop, 2**16, max_line_size=65536, max_field_size=65536, read_until_eof=True
    )
    try:
        ((parsed, payload),), _, _ = parser.feed_data(data)
    except Exception:
        return  # the parser does not take it: then there is nothing to learn
    memory.parsed(data, ResponseHead(parsed), payload)
    assert memory.find(data) is None


async def test_endpoint_whose_heads_differ_is_soon_left_alone() -> None:
    """Learning costs, and would never pay."""
    connection = Connection()
    for number in range(10):
        assert connection.feed(b"HTTP/1.1 200 OK\r\nX-%d: 1\r\nContent-Length: 0\r\n\r\n" % number) is None
    for _ in range(2):
        assert connection.feed(PLAIN % 2 + b"{}") is None


async def test_connections_share_what_they_know_and_take_it_away() -> None:
    shared = KnownResponses()
    first, second = Connection(shared), Connection(shared)
    first.feed(HEAD % (b"00", 2) + b"{}")
    second.feed(HEAD % (b"01", 2) + b"{}")
    assert len(shared) == 1
    assert second.feed(HEAD % (b"02", 2) + b"{}")[0] is first.feed(HEAD % (b"02", 2) + b"{}")[0]
    del first, second
    gc.collect()
    assert not shared


@pytest.mark.parametrize(
    ("headers", "stream"),
    [
        ({"Content_Type": "text/event-stream"}, True),
        ({"Content_Type": "Text/Event-Stream; charset=utf-8"}, True),
        ({"Content_Type": "text/event-stream", "Content_Encoding": "gzip"}, False),
        ({"Content_Type": "application/json"}, False),
        ({}, False),
    ],
)
def test_event_stream_that_can_be_read(headers: dict[str, str], stream: bool) -> None:
    """A compressed one is passed on unseen."""
    parsed = message(**headers)
    parsed.should_close = False
    assert ResponseHead(parsed).is_event_stream is stream
