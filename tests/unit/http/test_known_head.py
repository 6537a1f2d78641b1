"""A head that comes again is the head that came before, but for its length; anything else is for the parser."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser

from pixiu_py.http.head_pattern import LONGEST_VALUE, MOST_VARYING
from pixiu_py.http.known_head import LONGEST_KNOWN, HeadMemory, KnownHeads

HEAD = b"POST /v1?a=b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nX-A: 1\r\n\r\n"


class Connection:
    """A memory beside a parser, as a connection has them."""

    def __init__(self, shared: KnownHeads | None = None) -> None:
        self.memory = HeadMemory(shared if shared is not None else KnownHeads())
        loop = asyncio.get_running_loop()
        self._parser = HttpRequestParser(BaseProtocol(loop), loop, 2**16, max_line_size=65536, max_field_size=65536)

    def feed(self, data: bytes) -> Any:
        """What was recognised; None when the parser had to take it."""
        found = self.memory.find(data)
        if found is not None:
            return found
        messages, _, _ = self._parser.feed_data(data)
        if len(messages) == 1:
            self.memory.parsed(data, *messages[0])
        else:
            self.memory.continued(data, len(messages))
        return None


async def test_same_head_is_recognised() -> None:
    """With everything the parser made of it."""
    connection = Connection()
    assert connection.feed(HEAD % 2 + b"{}") is None
    head, body = connection.feed(HEAD % 2 + b"[]")
    assert (head.method, head.target, head.path, head.query, head.length, body) == (
        "POST",
        "/v1?a=b",
        "/v1",
        "a=b",
        2,
        b"[]",
    )
    assert list(head.headers()) == [("Host", "a"), ("Content-Length", "2"), ("X-A", "1")]


async def test_length_may_differ() -> None:
    """Conversations grow."""
    connection = Connection()
    connection.feed(HEAD % 2 + b"{}")
    head, body = connection.feed(HEAD % 12 + b"x" * 12)
    assert (head.length, body) == (12, b"x" * 12)
    assert list(head.headers()) == [("Host", "a"), ("Content-Length", "12"), ("X-A", "1")]
    assert head.headers().get("content-length") == "12"


async def test_requests_share_no_changes() -> None:
    """A filter changes the fields of its own request only."""
    connection = Connection()
    connection.feed(HEAD % 0)
    headers = connection.feed(HEAD % 0)[0].headers()
    headers.set("X-A", "changed")
    headers.append((b"x-request-id", b"1"))
    assert list(connection.feed(HEAD % 0)[0].headers()) == [("Host", "a"), ("Content-Length", "0"), ("X-A", "1")]


async def test_more_or_less_than_one_request_is_for_the_parser() -> None:
    """Also what looks like a known head in the middle of a body."""
    connection = Connection()
    connection.feed(HEAD % 2 + b"{}")
    assert connection.feed(HEAD % 2 + b"{") is None
    assert connection.feed(b"}") is None
    assert connection.feed(HEAD % 2 + b"{}") is not None  # between two messages again
    whole = HEAD % 2 + b"{}"
    assert connection.feed(HEAD % len(whole)) is None
    assert connection.feed(whole) is None
    assert connection.feed(HEAD % 2 + b"{}") is not None
    assert connection.feed(whole + whole) is None
    assert connection.feed(whole) is None  # nobody looked where the first of the two ended


async def test_client_whose_heads_differ_is_soon_left_alone() -> None:
    """Learning costs, and would never pay."""
    connection = Connection()
    for number in range(20):
        assert (
            connection.feed(HEAD % 0 + b"" if number == 19 else b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number) is None
        )
    assert connection.feed(HEAD % 0) is None


async def test_long_head_is_not_remembered() -> None:
    """A connection keeps 4 KiB at most."""
    connection = Connection()
    for size, known in ((LONGEST_KNOWN + 1, False), (LONGEST_KNOWN, True)):
        head = b"GET / HTTP/1.1\r\nHost: a\r\nX: %b\r\n\r\n"
        head %= b"x" * (size - len(head) + 2)
        connection.feed(head)
        assert (connection.feed(head) is not None) is known


async def test_connections_share_what_they_know_and_take_it_away() -> None:
    """Two thousand clients of one kind need one head; the last one leaves no credential behind."""
    shared = KnownHeads()
    first, second = Connection(shared), Connection(shared)
    first.feed(HEAD % 2 + b"{}")
    second.feed(HEAD % 3 + b"{} ")
    assert len(shared) == 1
    assert second.feed(HEAD % 2 + b"{}")[0] is first.feed(HEAD % 2 + b"{}")[0]
    del first, second
    gc.collect()
    assert not shared


ID = b"POST /v1 HTTP/1.1\r\nHost: a\r\nX-Id: %b\r\nContent-Length: 2\r\ntraceparent: %b\r\n\r\n{}"


def connection_that_knows_ids() -> Connection:
    connection = Connection()
    assert connection.feed(ID % (b"1", b"00-a")) is None
    assert connection.feed(ID % (b"2", b"00-b")) is None
    return connection


async def test_ids_may_differ() -> None:
    """Under whatever name, two at a time: each request has its own."""
    connection = connection_that_knows_ids()
    for number in range(10):
        trace = b"a b;c=%d" % number
        head, body = connection.feed(ID % (b"%d" % 10**number, trace))
        assert list(head.headers()) == [
            ("Host", "a"),
            ("X-Id", str(10**number)),
            ("Content-Length", "2"),
            ("traceparent", trace.decode()),
        ]
        assert (head.headers().get("x-id"), head.length, body) == (str(10**number), 2, b"{}")


async def test_head_with_another_id_has_notes_of_its_own() -> None:
    """They may depend on that id."""
    connection = connection_that_knows_ids()
    first = connection.feed(ID % (b"1", b"c"))[0]
    first.route = (object(), first.fields, object())
    first.fields.notes[1] = first.fields.onward = 1
    same = connection.feed(ID % (b"1", b"c"))[0]
    assert (same.route, same.fields.notes, same.fields.onward) == (first.route, {1: 1}, 1)
    other = connection.feed(ID % (b"2", b"c"))[0]
    assert (other.fields.notes, other.fields.onward) == ({}, None)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b" 1",
        b"1 ",
        b"\t1",
        b"1\t",
        b"1\t1",
        b"1\r",
        b"1\n",
        b"1\r\nX: 1",
        b"1\nX: 1",
        b"1\0",
        b"\x7f",
        b"\xa01",
        b"\xc3\xa9",
        b"1" * (LONGEST_VALUE + 1),
    ],
)
async def test_value_that_is_not_plain_text_is_for_the_parser(value: bytes) -> None:
    """Nothing is taken over that it might refuse, trim or decode."""
    connection = connection_that_knows_ids()
    assert connection.memory.find(ID % (b"1", b"c")) is not None
    assert connection.memory.find(ID % (value, b"c")) is None
    assert connection.memory.find(ID % (b"1", value)) is None


@pytest.mark.parametrize(
    "name",
    [
        b"Connection",
        b"Keep-Alive",
        b"TE",
        b"Trailer",
        b"Upgrade",
        b"Host",
        b"Authorization",
        b"X-Api-Key",
        b"Cookie",
        b"Content-Type",
        b"content-encoding",
    ],
)
async def test_field_that_decides_something_never_varies(name: bytes) -> None:
    """What a message means, and whose it is, is for the parser to say."""
    connection = Connection()
    head = b"GET / HTTP/1.1\r\n" + (b"" if name == b"Host" else b"Host: a\r\n") + b"%b: a%d\r\n\r\n"
    for number in range(4):
        assert connection.feed(head % (name, number)) is None


async def test_field_that_is_dropped_never_varies() -> None:
    """One that Connection names is no field of the request."""
    connection = Connection()
    for number in range(4):
        head = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: x-own\r\nX-Own: %d\r\n\r\n" % number
        assert connection.feed(head) is None


async def test_value_varies_beside_a_field_that_is_dropped() -> None:
    """It is put where it stands among those that are left."""
    connection = Connection()
    head = b"GET / HTTP/1.1\r\nHost: a\r\nHTTP2-Settings: a\r\nConnection: http2-settings\r\nX-Id: %d\r\n\r\n"
    for number in range(2):
        connection.feed(head % number)
    found = connection.feed(head % 3)[0]
    assert list(found.headers()) == [("Host", "a"), ("Connection", "http2-settings"), ("X-Id", "3")]


async def test_too_many_values_are_not_learnt() -> None:
    """Nor is anything else of such a client."""
    connection = Connection()
    fields = b"".join(b"X-%d: %%d\r\n" % number for number in range(MOST_VARYING + 1))
    for number in range(4):
        assert (
            connection.feed(b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n" % (fields % ((number,) * (MOST_VARYING + 1))))
            is None
        )


async def test_connections_share_a_head_whose_ids_differ() -> None:
    """Each of them gets the ids of the request at hand."""
    shared = KnownHeads()
    connections = [Connection(shared), Connection(shared)]
    for number in range(2):
        for connection in connections:
            connection.feed(ID % (b"%d" % number, b"%d" % number))
    assert len(shared) == 1
    for number in range(4):
        for which, connection in enumerate(connections):
            fields = connection.feed(ID % (b"%d" % number, b"%d" % which))[0].headers()
            assert (fields.get("x-id"), fields.get("traceparent")) == (str(number), str(which))
