"""What aiohttp's parser lets pass and is refused all the same: requests that others could read in another way."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser

from pixiu_py.http.request_fault import MOST_DIGITS, fault


async def fault_of(data: bytes) -> int:
    loop = asyncio.get_running_loop()
    parser = HttpRequestParser(BaseProtocol(loop), loop, 2**16, max_line_size=65536, max_field_size=65536)
    ((message, _),), _, _ = parser.feed_data(data)
    found = fault(message)
    return found.status if found is not None else 0


def get(*fields: bytes, host: bytes = b"h", target: bytes = b"/", version: bytes = b"HTTP/1.1") -> bytes:
    return b"\r\n".join([b"GET %b %b" % (target, version), b"Host: " + host, *fields, b"", b""])


@pytest.mark.parametrize(
    "data",
    [
        get(),
        get(version=b"HTTP/1.0"),
        b"GET / HTTP/1.0\r\n\r\n",
        get(target=b"http://u:p@h/x?y"),
        get(b"Transfer-Encoding: Chunked "),
        get(b"Content-Length: " + b"0" * MOST_DIGITS),
        b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n",
    ],
)
async def test_usual_requests_are_let_pass(data: bytes) -> None:
    assert await fault_of(data) == 0


@pytest.mark.parametrize("version", [b"HTTP/0.9", b"HTTP/2.0"])
async def test_other_versions_are_not_spoken(version: bytes) -> None:
    """RFC 9110 section 15.6.6. They would be answered as if they were 1.1."""
    assert await fault_of(get(version=version)) == 505


async def test_line_without_a_version_is_no_request() -> None:
    assert await fault_of(b"GET /\r\n\r\n") == 505


@pytest.mark.parametrize("target", [b"/a#b", b"/a?b#c", b"http://h/a#b"])
async def test_target_has_no_fragment(target: bytes) -> None:
    """A route sees ``/admin#``, and an endpoint that cuts it off ``/admin`` (RFC 9112 section 3.2)."""
    assert await fault_of(get(target=target)) == 400


@pytest.mark.parametrize("coding", [b"gzip, chunked", b",chunked", b""])
async def test_only_one_transfer_coding_is_known(coding: bytes) -> None:
    """RFC 9112 section 6.1: the body would go on coded, and nobody would know."""
    assert await fault_of(get(b"Transfer-Encoding: " + coding)) == 501


@pytest.mark.parametrize("more", [b"X: 1", b"Connection: keep-alive"])
async def test_old_message_with_a_transfer_coding_is_faulty(more: bytes) -> None:
    """RFC 9112 section 6.1: whoever passed it on may have seen another end."""
    assert await fault_of(get(b"Transfer-Encoding: chunked", more, version=b"HTTP/1.0")) == 400


@pytest.mark.parametrize("length", [2**64 - 1, 2**63, 10**MOST_DIGITS])
async def test_length_that_others_cannot_hold_is_refused(length: int) -> None:
    """aiohttp's parser takes the first for no body at all, and the endpoint would wait for it on a connection that is kept."""
    assert await fault_of(get(b"Content-Length: %d" % length)) == 400


@pytest.mark.parametrize(
    "host", [b"", b"a.b-c_d~:8080", b"a:", b"10.0.0.1", b"[::1]:80", b"[fe80::1%25eth0]", b"a%20b"]
)
async def test_names_of_hosts(host: bytes) -> None:
    assert await fault_of(get(host=host)) == 0


@pytest.mark.parametrize(
    "host", [b"a b", b"a/b", b"u@a", b"a:b", b"[::1", b"a\\b", b"a?b", b"caf\xe9", b"a:80:80", b'"a"']
)
async def test_what_is_no_name_of_a_host_is_refused(host: bytes) -> None:
    """RFC 9112 section 3.2."""
    assert await fault_of(get(host=host)) == 400
