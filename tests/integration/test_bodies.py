"""Bodies, both ways: every byte, in bounded memory, and a part is never taken for the whole."""

from __future__ import annotations

import asyncio
import hashlib
import random

import pytest

from tests.conftest import StartGateway
from tests.fakes import actions
from tests.fakes.actions import JSON, respond
from tests.fakes.bodies import chat, error
from tests.fakes.client import request
from tests.fakes.conf import endpoint, http_conf, llm_conf
from tests.fakes.upstream import Action, Connection, Request, Upstream

ODD = b'{ "model":"m",  "top_k": 5, "seed": 9007199254740993, "messages": [ {"role":"user","content":"\\u00e9"} ], "x": null}\n'


@pytest.mark.parametrize("make", [llm_conf, http_conf])
async def test_request_body_is_not_touched(gateway: StartGateway, make: object) -> None:
    """Unknown fields, large integers, white space and escapes are the client's business."""
    async with Upstream(chat("a")) as upstream:
        running = await gateway(make(endpoint(upstream)))  # type: ignore[operator]
        await running.request("POST", "/v1/chat/completions", {"Content-Type": "application/json"}, ODD)
        assert upstream.request.body == ODD
        assert upstream.request.header("content-length") == str(len(ODD)).encode()


async def test_body_is_replayed_byte_for_byte(gateway: StartGateway) -> None:
    """Every attempt, at every endpoint, sends the whole body with its length."""
    async with Upstream([error(500), error(503)]) as first, Upstream(chat("b")) as second:
        running = await gateway(llm_conf(endpoint(first, retry=1, fallback=True), endpoint(second)))
        await running.request("POST", "/v1/chat/completions", body=ODD)
        seen = [*first.requests, *second.requests]
        assert [(r.framing, r.body) for r in seen] == [("length", ODD)] * 3


async def test_chunked_request_gets_a_length(gateway: StartGateway) -> None:
    """A body that has to be held anyway is sent on with Content-Length, without its chunks."""
    async with Upstream(chat("a")) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        async with running.client() as client:
            await client.send(request("POST", "/v1/chat/completions", {"Transfer-Encoding": "chunked"}))
            await client.send(b"5\r\nhello\r\n6;e=1\r\n world\r\n0\r\nX-Trailer: 1\r\n\r\n")
            assert (await client.read_response()).status == 200
        assert (upstream.request.framing, upstream.request.body) == ("length", b"hello world")


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_request_without_body_stays_without(gateway: StartGateway, method: str) -> None:
    """No body is made up; a POST may say that its body is empty."""
    async with Upstream(chat("a")) as upstream:
        running = await gateway(http_conf(endpoint(upstream)))
        await running.request(method, "/x")
        assert upstream.request.body == b""
        assert upstream.request.header("transfer-encoding") is None
        assert upstream.request.header("content-length") in (None, b"0")


@pytest.mark.parametrize("make", [llm_conf, http_conf])
async def test_megabytes_pass_both_ways(gateway: StartGateway, make: object) -> None:
    """Long prompts and long answers are nothing special."""
    big = bytes(range(256)) * 2**15  # 8 MiB
    async with Upstream(lambda seen: respond(200, body=seen.body)) as upstream:
        running = await gateway(make(endpoint(upstream)))  # type: ignore[operator]
        reply = await running.request("POST", "/v1/chat/completions", body=big)
        assert hashlib.sha256(reply.body).digest() == hashlib.sha256(big).digest()
        assert reply.header("content-length") == str(len(big)).encode()


@pytest.mark.parametrize("split", [(), (1,), (1, 2, 3), (4999,)])
async def test_chunked_response_arrives_whole(gateway: StartGateway, split: tuple[int, ...]) -> None:
    """However the endpoint cuts it."""
    body = b"0123456789" * 500
    async with Upstream(respond(200, body=body, chunked=True, split=split)) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        reply = await running.chat()
        assert (reply.complete, reply.body) == (True, body)


async def test_response_that_ends_with_its_connection(gateway: StartGateway) -> None:
    """A body without a length ends where the endpoint closes; the client's connection lives on."""
    answer = actions.raw(actions.head(200, [JSON]) + b"to the end", then="close")
    async with Upstream([answer, chat("a")]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        async with running.client() as client:
            reply = await client.chat()
            assert (reply.complete, reply.body, reply.framing) == (True, b"to the end", "chunked")
            assert (await client.chat()).status == 200


@pytest.mark.parametrize("then", ["close", "reset"])
@pytest.mark.parametrize("framing", [b"Content-Length: 100", b"Transfer-Encoding: chunked"])
async def test_truncated_response_is_visible(gateway: StartGateway, framing: bytes, then: str) -> None:
    """A body that breaks off breaks the client's connection too, so that no part passes for the whole."""
    start = b"5\r\nhello\r\n" if b"chunked" in framing else b"hello"
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n" + framing + b"\r\n\r\n"
    async with Upstream([actions.raw(head + start, then=then)]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        reply = await running.chat()
        assert not reply.complete
        assert (await running.wait_log())[0]["end"] == "reset"


async def test_response_is_not_held_back(gateway: StartGateway) -> None:
    """What the endpoint has sent is at the client before the endpoint sends more."""
    go = asyncio.Event()
    answer = actions.raw(actions.head(200, [JSON, (b"Content-Length", b"10")]) + b"first", go, b"-last")
    async with Upstream(answer) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        async with running.client() as client:
            await client.send(request("POST", "/v1/chat/completions", body=b"{}"))
            await client.read_until(b"first")
            go.set()
            await client.read_until(b"-last")


async def test_slow_client_slows_the_endpoint(gateway: StartGateway) -> None:
    """Memory is bounded: what the client does not take is not fetched."""
    size = 2**27
    async with Upstream(actions.flood(size), send_buffer=65536) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        async with running.client(receive_buffer=65536) as client:
            await client.send(request("POST", "/v1/chat/completions", body=b"{}"))
            await client.read_until(b"\r\n\r\n")
            await upstream.until_stalled()
            assert upstream.connections[0].sent < 2**24
            reply = await client.reader.readexactly(size)
            assert reply.count(b"x") == size


#: A body of known length, and one that ends when it ends; how each begins.
STREAMED = [
    ({"Content-Length": str(2**28)}, b"x"),
    ({"Transfer-Encoding": "chunked"}, b"%x\r\n" % 2**28),
]


@pytest.mark.parametrize(("framing", "piece"), STREAMED)
async def test_slow_endpoint_slows_the_client(gateway: StartGateway, framing: dict[str, str], piece: bytes) -> None:
    """A streamed upload is not collected here when the endpoint does not take it."""
    async with Upstream([actions.early(actions.stall())]) as upstream:
        running = await gateway(http_conf(endpoint(upstream)))
        async with running.client() as client:
            await client.send(request("POST", "/x", framing))
            await client.send(piece)
            assert await client.send_until_stalled(2**28) < 2**25
            client.abort()


@pytest.mark.parametrize(("framing", "piece"), STREAMED)
async def test_client_that_leaves_a_stalled_upload_is_noticed(
    gateway: StartGateway, framing: dict[str, str], piece: bytes
) -> None:
    """Though nothing is read from it meanwhile, and no time limit is near."""
    async with Upstream([actions.early(actions.stall())]) as upstream:
        running = await gateway(http_conf(endpoint(upstream)))
        async with running.client() as client:
            await client.send(request("POST", "/x", framing))
            await client.send(piece)
            await client.send_until_stalled(2**28)
            client.abort()
            assert (await running.wait_log())[0]["end"] == "client_gone"


async def test_slow_endpoint_gets_every_byte(gateway: StartGateway) -> None:
    """An upload that had to wait goes on where it stopped, and the connections serve on."""
    size = 2**25
    content = random.Random(1).randbytes(size)
    go = asyncio.Event()

    async def slowly(connection: Connection, seen: Request) -> None:
        digest = hashlib.sha256()
        await go.wait()
        for _ in range(size // 2**20):
            digest.update(await connection.reader.readexactly(2**20))
            await asyncio.sleep(0)
        await respond(200, body=digest.hexdigest().encode()).run(connection, seen)

    async with Upstream([Action(slowly, when="head"), respond(200, body=b"second")]) as upstream:
        running = await gateway(http_conf(endpoint(upstream)))
        async with running.client() as client:
            client.writer.write(request("PUT", "/x", {"Content-Length": str(size)}) + content)
            await upstream.until_requests(1)
            go.set()
            reply = await client.read_response()
            assert reply.body.decode() == hashlib.sha256(content).hexdigest()
            assert (await client.request("GET", "/")).body == b"second"


async def test_next_request_may_follow_an_upload_at_once(gateway: StartGateway) -> None:
    """Also when it came with the last bytes of the body."""
    content = b"GET /no HTTP/1.1\r\n\r\n" * 20_000  # that must not be taken for a request
    upload = request("PUT", "/up", body=content)
    async with Upstream(respond(200, body=b"ok")) as upstream:
        running = await gateway(http_conf(endpoint(upstream)))
        async with running.client() as client:
            for cut in (200_000, 1_000, len(upload) - 1):
                await client.send(upload[:cut])
                await asyncio.sleep(0.02)  # so that it comes in two pieces, which has no event
                await client.send(upload[cut:] + request("GET", "/next") + upload)
                for _ in range(3):
                    assert (await client.read_response()).body == b"ok"
        assert [seen.target for seen in upstream.requests] == ["/up", "/next", "/up"] * 3
        assert all(seen.body == content for seen in upstream.requests if seen.method == "PUT")


async def test_rest_of_a_refused_upload_is_thrown_away(gateway: StartGateway) -> None:
    """The endpoint answers after the beginning; the client, which sends all the same, has its connection afterwards."""
    async with Upstream([actions.early(error(413)), respond(200, body=b"next")]) as upstream:
        running = await gateway(http_conf(endpoint(upstream)))
        async with running.client() as client:
            await client.send(request("PUT", "/x", {"Content-Length": str(2**22)}) + bytes(200_000))
            assert (await client.read_response()).status == 413
            await client.send(bytes(2**22 - 200_000))
            assert (await client.request("GET", "/")).body == b"next"


async def test_upload_is_not_held_back(gateway: StartGateway) -> None:
    """Of a streamed upload the endpoint has each piece before the client sends the next."""
    heard = asyncio.Event()

    async def run(connection: Connection, seen: object) -> None:
        assert await connection.reader.readuntil(b"first") != b""
        heard.set()
        await connection.reader.readuntil(b"last\r\n0\r\n\r\n")
        connection.write(actions.head(200, [(b"Content-Length", b"0")]))

    async with Upstream([Action(run, when="head")]) as upstream:
        running = await gateway(http_conf(endpoint(upstream)))
        async with running.client() as client:
            await client.send(request("POST", "/x", {"Transfer-Encoding": "chunked"}) + b"5\r\nfirst\r\n")
            async with asyncio.timeout(5):
                await heard.wait()
            await client.send(b"4\r\nlast\r\n0\r\n\r\n")
            assert (await client.read_response()).status == 200


async def test_waiting_client_is_told_to_continue(gateway: StartGateway) -> None:
    """``Expect: 100-continue`` is answered by the gateway, once, and not passed on."""
    async with Upstream(chat("a")) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        async with running.client() as client:
            await client.send(request("POST", "/v1/x", {"Expect": "100-continue", "Content-Length": "2"}))
            assert (await client.read_head()).status == 100
            await client.send(b"{}")
            assert (await client.read_response()).status == 200
        assert upstream.request.header("expect") is None
        assert upstream.request.body == b"{}"


async def test_refused_client_is_not_told_to_continue(gateway: StartGateway) -> None:
    """A request that its head alone condemns costs no upload."""
    async with Upstream([]) as upstream:
        routes = [{"match": {"prefix": "/v1"}, "route": {"cluster": "main"}}]
        running = await gateway(llm_conf(endpoint(upstream), routes=routes))
        async with running.client() as client:
            await client.send(request("POST", "/no", {"Expect": "100-continue", "Content-Length": "1000000"}))
            reply = await client.read_response()
            assert (reply.status, reply.interim) == (404, [])


async def test_interim_responses_of_the_endpoint_end_here(gateway: StartGateway) -> None:
    """A 103 from upstream is no final response."""
    answer = actions.raw(
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", actions.head(200, [(b"Content-Length", b"2")]), b"ok"
    )
    async with Upstream(answer) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        reply = await running.chat()
        assert (reply.status, reply.body) == (200, b"ok")


@pytest.mark.parametrize("make", [llm_conf, http_conf])
async def test_answer_may_come_before_the_upload_has_ended(gateway: StartGateway, make: object) -> None:
    """An endpoint that refuses a body early is heard, and its answer reaches the client."""
    async with Upstream([actions.early(error(413, message="too long"))]) as upstream:
        running = await gateway(make(endpoint(upstream)))  # type: ignore[operator]
        reply = await running.request("POST", "/v1/x", body=b"x" * 2**20)
        assert reply.status == 413
        assert b"too long" in reply.body


@pytest.mark.parametrize("make", [llm_conf, http_conf])
async def test_unfinished_request_is_not_taken_for_a_whole_one(gateway: StartGateway, make: object) -> None:
    """A client that breaks off its upload has asked for nothing."""
    async with Upstream(chat("a")) as upstream:
        running = await gateway(make(endpoint(upstream)))  # type: ignore[operator]
        async with running.client() as client:
            await client.send(request("POST", "/v1/x", {"Content-Length": "100"}) + b"half")
            client.abort()
        await running.wait_log()
        assert not [seen for seen in upstream.requests if seen.complete and seen.body]


async def test_pipelined_requests_are_answered_in_order(gateway: StartGateway) -> None:
    """Two requests in one segment get two responses, the first one first."""
    async with Upstream(lambda seen: respond(200, body=seen.target.encode())) as upstream:
        running = await gateway(http_conf(endpoint(upstream)))
        async with running.client() as client:
            await client.send(request("GET", "/1") + request("GET", "/2"))
            assert (await client.read_response()).body == b"/1"
            assert (await client.read_response()).body == b"/2"


async def test_trailer_of_one_answer_is_no_field_of_the_next(gateway: StartGateway) -> None:
    """aiohttp's parser adds the last one to it, and the next answer may be another client's."""
    trailing = actions.raw(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2\r\n{}\r\n0\r\nSet-Cookie: mine\r\n\r\n"
    )
    async with Upstream([trailing, chat("a"), chat("a")]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        for _ in range(3):
            answer = await running.chat()
            assert answer.status == 200
            assert answer.values("set-cookie") == []
        assert [seen.connection for seen in upstream.requests] == [1, 1, 1]
