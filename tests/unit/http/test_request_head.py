"""What the gateway takes from a parsed head."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser

from pixiu_py.http.request_head import RequestHead


async def head_of(data: bytes) -> RequestHead:
    loop = asyncio.get_running_loop()
    parser = HttpRequestParser(BaseProtocol(loop), loop, 2**16, max_line_size=65536, max_field_size=65536)
    messages, _, _ = parser.feed_data(data)
    return RequestHead(messages[0][0])


@pytest.mark.parametrize(
    ("head", "length"),
    [
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\n", 7),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", None),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0),
    ],
)
async def test_length_of_the_body(head: bytes, length: int | None) -> None:
    """None: it is told as it comes (RFC 9112 section 6.3)."""
    assert (await head_of(head)).length == length


async def test_absolute_form_becomes_origin_form() -> None:
    """Its authority takes the place of Host (RFC 9112 section 3.2.2)."""
    head = await head_of(b"GET http://b:81/x?y=%20z HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (head.target, head.path, head.query) == ("/x?y=%20z", "/x", "y=%20z")
    assert list(head.headers()) == [("Host", "b:81")]


async def test_who_asks_is_no_part_of_the_host() -> None:
    """A name and a password before it would be told to endpoints, and would hide the host from the routes."""
    head = await head_of(b"GET http://user:secret@b:81/x HTTP/1.1\r\nHost: a\r\n\r\n")
    assert list(head.headers()) == [("Host", "b:81")]


async def test_old_client_does_not_wait_to_be_told_to_send() -> None:
    """RFC 9110 section 10.1.1: it would take the interim response for the answer."""
    assert not (await head_of(b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")).expects


@pytest.mark.parametrize(
    ("offered", "upgrade"),
    [
        (b"h2c", ""),
        (b"H2C, websocket", "websocket"),
        (b"HTTP/2.0", ""),
        (b"websocket,  irc/6.9,", "websocket, irc/6.9"),
    ],
)
async def test_other_version_of_http_is_not_offered(offered: bytes, upgrade: str) -> None:
    """Whoever spoke it through the gateway would go past its routes and filters."""
    head = await head_of(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: " + offered + b"\r\n\r\n")
    assert (head.upgrade, head.keeps_alive) == (upgrade, False)


@pytest.mark.parametrize(
    ("fields", "keeps", "upgrade", "expects"),
    [
        (b"", True, "", False),
        (b"Connection: close\r\n", False, "", False),
        (b"Connection: Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: x\r\n", False, "websocket", False),
        (b"Expect: 100-continue\r\n", True, "", True),
    ],
)
async def test_what_it_says_about_the_connection(fields: bytes, keeps: bool, upgrade: str, expects: bool) -> None:
    """A connection that may become another protocol serves no further request."""
    head = await head_of(b"GET / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n")
    assert (head.keeps_alive, head.upgrade, head.expects) == (keeps, upgrade, expects)


async def test_another_length_is_another_head() -> None:
    """Everything else is the same, and stays shared."""
    head = await head_of(b"POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 7\r\nX-A: 1\r\n\r\n")
    head.fields.onward = onward = object()
    other = head.with_fields(head.fields.with_length(1, b"12"), 12)
    assert (other.length, other.target, other.fields.onward) == (12, "/", onward)
    assert list(other.headers()) == [("Host", "a"), ("content-length", "12"), ("X-A", "1")]
    assert head.length == 7
