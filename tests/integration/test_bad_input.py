"""Requests that are not what they claim: refused, never passed on, and without harm to others."""

from __future__ import annotations

import pytest

from tests.conftest import StartGateway
from tests.fakes.actions import respond
from tests.fakes.bodies import chat
from tests.fakes.conf import endpoint, http_conf, llm_conf
from tests.fakes.upstream import Upstream

HEAD = b"POST /v1/x HTTP/1.1\r\nHost: h\r\n"

#: Each could make the gateway and an endpoint disagree about where a request ends (RFC 9112 §11.2), or is no HTTP.
REFUSED = {
    "length and chunked": HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    "list of lengths": HEAD + b"Content-Length: 1, 2\r\n\r\nxx",
    "negative length": HEAD + b"Content-Length: -1\r\n\r\n",
    "signed length": HEAD + b"Content-Length: +1\r\n\r\nx",
    "length in other digits": HEAD + "Content-Length: \u0661\r\n\r\nx".encode(),
    "hexadecimal length": HEAD + b"Content-Length: 0x1\r\n\r\nx",
    "chunked not last": HEAD + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunked twice": HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "unknown coding": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "space before colon": HEAD + b"Content-Length : 5\r\n\r\nhello",
    "folded line": HEAD + b"X-A: 1\r\n Content-Length: 5\r\n\r\n",
    "nul in a value": HEAD + b"X-A: a\x00b\r\n\r\n",
    "bare CR in a value": HEAD + b"X-A: a\rContent-Length: 5\r\n\r\n",
    "name with a space": HEAD + b"X A: 1\r\n\r\n",
    "no name": HEAD + b": 1\r\n\r\n",
    "line without colon": HEAD + b"hello\r\n\r\n",
    "method with a bracket": b"GE[T / HTTP/1.1\r\nHost: h\r\n\r\n",
    "target with a space": b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n",
    "version 3": b"GET / HTTP/3.0\r\nHost: h\r\n\r\n",
    "not HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "http2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.parametrize("make", [llm_conf, http_conf])
async def test_ambiguous_request_is_refused(gateway: StartGateway, make: object, data: bytes) -> None:
    """400 and the end of the connection; the endpoint never hears of it, nor of what follows it."""
    async with Upstream([]) as upstream:
        running = await gateway(make(endpoint(upstream)))  # type: ignore[operator]
        async with running.client() as client:
            await client.send(data + b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n")
            reply = await client.read_response()
            assert reply.status in (400, 501, 505)
            assert reply.header("content-type") == b"application/json"
            assert await client.read_rest() == b""


BROKEN_CHUNKS = {
    "no hex": b"zz\r\nhello\r\n0\r\n\r\n",
    "negative": b"-5\r\nhello\r\n0\r\n\r\n",
    "with prefix": b"0x5\r\nhello\r\n0\r\n\r\n",
    "wrong size": b"4\r\nhello\r\n0\r\n\r\n",
    "bare LF": b"5\nhello\n0\n\n",
    "huge": b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("data", BROKEN_CHUNKS.values(), ids=BROKEN_CHUNKS.keys())
async def test_broken_chunks_never_become_a_request(gateway: StartGateway, data: bytes) -> None:
    """A body whose framing breaks is not passed on as a whole one."""
    async with Upstream([]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        async with running.client() as client:
            await client.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + data)
            assert (await client.read_response()).status == 400
            await client.read_rest()


async def test_request_without_host_is_refused(gateway: StartGateway) -> None:
    """HTTP/1.1 requires exactly one Host (RFC 9112 §3.2)."""
    async with Upstream([]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        for hosts in (b"", b"Host: a\r\nHost: b\r\n"):
            async with running.client() as client:
                await client.send(b"GET / HTTP/1.1\r\n" + hosts + b"\r\n")
                assert (await client.read_response()).status == 400


async def test_connect_is_refused(gateway: StartGateway) -> None:
    """This is no forward proxy."""
    async with Upstream([]) as upstream:
        running = await gateway(http_conf(endpoint(upstream)))
        async with running.client() as client:
            await client.send(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n")
            assert (await client.read_response("CONNECT")).status in (400, 405, 501)


async def test_absolute_target_is_routed_by_its_path(gateway: StartGateway) -> None:
    """A client that takes us for its proxy is served (RFC 9112 §3.2.2); the endpoint sees the path alone."""
    async with Upstream([chat("a")]) as upstream:
        running = await gateway(http_conf(endpoint(upstream)))
        async with running.client() as client:
            await client.send(b"GET http://example.com/v1/x?a=%20b HTTP/1.1\r\nHost: example.com\r\n\r\n")
            assert (await client.read_response()).status == 200
        assert upstream.request.target == "/v1/x?a=%20b"


async def test_old_client_gets_an_old_answer(gateway: StartGateway) -> None:
    """HTTP/1.0: no chunks, and the connection closes."""
    async with Upstream([respond(200, body=b"hello", chunked=True)]) as upstream:
        running = await gateway(http_conf(endpoint(upstream)))
        async with running.client() as client:
            await client.send(b"GET /x HTTP/1.0\r\nHost: h\r\n\r\n")
            reply = await client.read_response()
            assert (reply.header("transfer-encoding"), reply.body) == (None, b"hello")


async def test_garbage_harms_nobody_else(gateway: StartGateway) -> None:
    """After every kind of nonsense the gateway serves as before."""
    async with Upstream([chat("a")]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        async with running.client() as bystander:
            for data in REFUSED.values():
                async with running.client() as client:
                    await client.send(data)
                    client.abort()
            assert (await bystander.chat()).status == 200


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'"x"', b"null", b"\xff\xfe", b"{}" * 10])
async def test_body_that_is_no_json_is_the_endpoints_business(gateway: StartGateway, body: bytes) -> None:
    """As long as nothing here needs the parsed body it goes on as it is."""
    async with Upstream([chat("a")]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        assert (await running.request("POST", "/v1/chat/completions", body=body)).status == 200
        assert upstream.request.body == body
