"""A head that comes again is the head that came before, but for its length; anything else is for the parser."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser

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
