"""Bytes that one reader takes for a body and another for a request: whichever they are, all agree about them."""

from __future__ import annotations

import pytest

from tests.conftest import StartGateway
from tests.fakes.actions import raw, respond
from tests.fakes.client import request
from tests.fakes.conf import endpoint, http_conf, llm_conf
from tests.fakes.upstream import Request, Upstream

HEAD = b"POST /v1/x HTTP/1.1\r\nHost: h\r\n"
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
#: A request in a chunk, and the end of the body.
IN_A_CHUNK = b"%x\r\n%b\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)
SIZED = b"Content-Length: %d\r\n\r\n" % len(HIDDEN)

#: What an endpoint may get: the body as the gateway has understood it. No ``/hidden`` is ever asked for.
UNDERSTOOD = {
    "a body on a GET": b"GET /v1/x HTTP/1.1\r\nHost: h\r\n" + SIZED + HIDDEN,
    "length with zeros": HEAD + b"Content-Length: 00%d\r\n\r\n" % len(HIDDEN) + HIDDEN,
    "length in blanks": HEAD + b"Content-Length: \t %d \t\r\n\r\n" % len(HIDDEN) + HIDDEN,
    "length that Connection names": HEAD + b"Connection: content-length\r\n" + SIZED + HIDDEN,
    "name that is like one of framing": HEAD + b"Transfer_Encoding: chunked\r\n" + SIZED + HIDDEN,
    "coding in capitals": HEAD + b"Transfer-Encoding:\tCHUNKED \r\n\r\n" + IN_A_CHUNK,
    "coding that Connection names": HEAD + b"Connection: transfer-encoding\r\n" + CHUNKED[len(HEAD) :] + IN_A_CHUNK,
    "size in capitals, with zeros": CHUNKED + b"000" + IN_A_CHUNK.upper().replace(HIDDEN.upper(), HIDDEN),
    "size with very many zeros": CHUNKED + b"0" * 40 + IN_A_CHUNK,
    "extension": CHUNKED + IN_A_CHUNK.replace(b"\r\n", b';a="b;c"\r\n', 1),
    "trailers": CHUNKED + IN_A_CHUNK[:-2] + b"Connection: close\r\nX-User: admin\r\n\r\n",
    "upgrade with a body": HEAD + b"Connection: upgrade\r\nUpgrade: websocket\r\n" + SIZED + HIDDEN,
}


@pytest.mark.parametrize("data", UNDERSTOOD.values(), ids=UNDERSTOOD.keys())
@pytest.mark.parametrize("make", [llm_conf, http_conf])
async def test_body_stays_a_body(gateway: StartGateway, make: object, data: bytes) -> None:
    """It goes on with one way to tell its end, which is the gateway's own."""
    async with Upstream(respond(200)) as upstream:
        running = await gateway(make(endpoint(upstream)))  # type: ignore[operator]
        async with running.client() as client:
            await client.send(data)
            assert (await client.read_response()).status == 200
        assert (await running.request("GET", "/v1/after")).status == 200
        first, second = upstream.requests
        assert (first.body, first.complete, second.target) == (HIDDEN, True, "/v1/after")
        assert framing(first) in ([b"Content-Length: %d" % len(HIDDEN)], [b"Transfer-Encoding: chunked"])
        assert b"x-user" not in second.names


def framing(message: Request) -> list[bytes]:
    """The lines that tell a body's end, however they are spelled."""
    lines = message.head.split(b"\r\n")[1:]
    return [line for line in lines if line.lower().startswith((b"content", b"transfer-"))]


REFUSED = {
    "CL.TE": HEAD + SIZED[:-2] + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "TE.CL": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n" + IN_A_CHUNK,
    "TE.TE, the second unknown": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
    "TE.TE, the first unknown": HEAD + b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE.TE, a tab in the value": HEAD + b"Transfer-Encoding: x\tchunked\r\n\r\n0\r\n\r\n",
    "TE behind a vertical tab": HEAD + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "TE in quotation marks": HEAD + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "TE with a parameter": HEAD + b"Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
    "TE on a folded line": HEAD + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "TE on the first line, folded": b"POST / HTTP/1.1\r\n Transfer-Encoding: chunked\r\nHost: h\r\n\r\n0\r\n\r\n",
    "TE, a space before the colon": HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "TE of nothing": HEAD + b"Transfer-Encoding:\r\n" + SIZED + HIDDEN,
    "TE of another coding": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "TE, an empty name before it": HEAD + b"Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n",
    "TE of identity": HEAD + b"Transfer-Encoding: identity\r\n" + SIZED + HIDDEN,
    "TE in an old message": b"POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "equal lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
    "equal lengths in a list": HEAD + b"Content-Length: 2, 2\r\n\r\nhi",
    "no length": HEAD + b"Content-Length:\r\n\r\n",
    "length with a line below": HEAD + b"Content-Length: 1_0\r\n\r\n0123456789",
    "length in two words": HEAD + b"Content-Length: 1 0\r\n\r\n0123456789",
    "length of 64 bits": HEAD + b"Content-Length: 18446744073709551615\r\n\r\n",
    "length of more": HEAD + b"Content-Length: 18446744073709551617\r\n\r\nx",
    "bare LF": HEAD + b"X: 1\nContent-Length: 2\r\n\r\nhi",
    "bare LF at the end": HEAD + b"Content-Length: 2\r\n\nhi",
    "two CR": HEAD + b"X: 1\r\r\nContent-Length: 2\r\n\r\nhi",
    "size with a prefix": CHUNKED + b"0x" + IN_A_CHUNK,
    "size with a sign": CHUNKED + b"+" + IN_A_CHUNK,
    "size behind a space": CHUNKED + b" " + IN_A_CHUNK,
    "size before a space": CHUNKED + IN_A_CHUNK.replace(b"\r\n", b" \r\n", 1),
    "size of more than 64 bits": CHUNKED + b"1" + b"0" * 16 + IN_A_CHUNK,
    "no size": CHUNKED + b"\r\n" + IN_A_CHUNK,
    "LF behind a size": CHUNKED + IN_A_CHUNK.replace(b"\r\n", b"\n", 1),
    "LF in an extension": CHUNKED + IN_A_CHUNK.replace(b"\r\n", b";a\n", 1),
    "CR in an extension": CHUNKED + IN_A_CHUNK.replace(b"\r\n", b";a\rb\r\n", 1),
    "extension that goes on": CHUNKED + IN_A_CHUNK.replace(b"\r\n", b';a="\r\n', 1),
    "LF behind a chunk": CHUNKED + b"2\r\nhi\n0\r\n\r\n",
    "nothing behind a chunk": CHUNKED + b"2\r\nhi0\r\n\r\n",
    "more behind a chunk": CHUNKED + b"2\r\nhixx\r\n0\r\n\r\n",
    "LF at the end of chunks": CHUNKED + b"2\r\nhi\r\n0\r\n\n",
    "trailer that is a length": CHUNKED + b"2\r\nhi\r\n0\r\nContent-Length: 5\r\n\r\n",
    "trailer that is a coding": CHUNKED + b"2\r\nhi\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "trailer that is no field": CHUNKED + b"2\r\nhi\r\n0\r\nhidden\r\n\r\n",
    "no version": b"GET /v1/x\r\n\r\n",
    "version 2.0": b"GET /v1/x HTTP/2.0\r\nHost: h\r\n\r\n",
    "fragment": b"GET /v1/x#y HTTP/1.1\r\nHost: h\r\n\r\n",
    "two equal hosts": b"GET /v1/x HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n",
    "no name of a host": b"GET /v1/x HTTP/1.1\r\nHost: h/@a\r\n\r\n",
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
async def test_what_could_be_read_in_two_ways_goes_nowhere(gateway: StartGateway, data: bytes) -> None:
    """It is refused, and so is what follows it; at most the endpoint sees a body that breaks off."""
    async with Upstream(respond(200)) as upstream:
        running = await gateway(http_conf(endpoint(upstream)))
        async with running.client() as client:
            await client.send(data + HIDDEN)
            assert (await client.read_response()).status in (400, 501, 505)
            assert await client.read_rest() == b""
        assert [seen for seen in upstream.requests if seen.complete] == []
        assert (await running.request("GET", "/v1/after")).status == 200
        assert upstream.requests[-1].target == "/v1/after"


async def test_same_head_is_refused_after_one_that_is_known(gateway: StartGateway) -> None:
    """What comes again is not parsed; what only begins like it is."""
    good = request("POST", "/v1/x", {"X-Id": "%"}, b"hi")
    for bad in (b"1\r\nTransfer-Encoding: chunked", b"1\nX: 1", b"1\r\n X: 1", b"a\0", b"1\r\nContent-Length: 9"):
        async with Upstream(respond(200)) as upstream:
            running = await gateway(http_conf(endpoint(upstream)))
            async with running.client() as client:
                for number in range(4):
                    await client.send(good.replace(b"%", b"%d" % number))
                    assert (await client.read_response()).status == 200
                await client.send(good.replace(b"%", bad) + HIDDEN)
                assert (await client.read_response()).status == 400
            assert len(upstream.requests) == 4


SPLIT = {
    "length, a space before the colon": b"Content-Length : 2\r\n\r\nhi",
    "coding, a space before the colon": b"Transfer-Encoding : chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    "lengths on a folded line": b"Content-Length:\r\n 2\r\n\r\nhi",
    "size in front of spaces": b"Transfer-Encoding: chunked\r\n\r\n2 \r\nhi\r\n0\r\n\r\n",
    "trailers": b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nContent-Encoding: x\r\nSet-Cookie: t\r\n\r\n",
}


@pytest.mark.parametrize("rest", SPLIT.values(), ids=SPLIT.keys())
async def test_client_sees_one_end_of_an_answer(gateway: StartGateway, rest: bytes) -> None:
    """Whatever an endpoint's answer looks like, the client's has the gateway's framing alone."""
    async with Upstream(raw(b"HTTP/1.1 200 OK\r\nX: a\r\n" + rest)) as upstream:
        running = await gateway(http_conf(endpoint(upstream)))
        async with running.client() as client:
            for _ in range(3):
                reply = await client.request("GET", "/v1/x")
                assert (reply.status, reply.body, reply.header("x")) == (200, b"hi", b"a")
                assert len([name for name in reply.names if name.startswith((b"content-", b"transfer-"))]) == 1
                assert b"set-cookie" not in reply.names
