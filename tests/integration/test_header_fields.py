"""Header fields: what goes on, what does not, and that nothing is added, lost, joined or reordered on the way."""

from __future__ import annotations

import gzip

import pytest

from tests.conftest import StartGateway
from tests.fakes.actions import JSON, respond
from tests.fakes.bodies import chat, error
from tests.fakes.client import chat_body
from tests.fakes.conf import endpoint, http_conf, llm_conf
from tests.fakes.upstream import Upstream

HOP_BY_HOP = ("connection", "keep-alive", "proxy-authorization", "proxy-connection", "te", "trailer", "upgrade")


async def test_end_to_end_fields_arrive_as_they_were_sent(gateway: StartGateway) -> None:
    """Case, order, repetition and bytes of unknown fields are the client's."""
    sent = [(b"X-B", b"2"), (b"x-a", b"1"), (b"X-b", b"3"), (b"X-Latin", b"caf\xe9"), (b"X-Utf", "é".encode())]
    async with Upstream(chat("a")) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        await running.request("POST", "/v1/chat/completions", sent, chat_body())
        assert [
            field for field in upstream.request.headers if field[0].lower().startswith(b"x-") and field in sent
        ] == sent


async def test_trace_context_cookies_and_user_agent_go_on(gateway: StartGateway) -> None:
    """What an endpoint may want to know of its client reaches it unchanged."""
    headers = {"traceparent": "00-1-2-01", "tracestate": "a=b", "Cookie": "a=1; b=2", "User-Agent": "me/1"}
    async with Upstream(chat("a")) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        await running.chat(headers=headers)
        for name, value in headers.items():
            assert upstream.request.header(name) == value.encode()


async def test_nothing_is_invented(gateway: StartGateway) -> None:
    """A request without Accept, Accept-Encoding or User-Agent has none upstream either: some endpoints look at them."""
    async with Upstream(chat("a")) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        await running.chat()
        assert not {b"accept", b"accept-encoding", b"user-agent", b"authorization"} & set(upstream.request.names)


async def test_hop_by_hop_request_fields_stay_here(gateway: StartGateway) -> None:
    """Fields about this connection, those that Connection names, and Proxy-Authorization do not go on."""
    headers = {
        "Connection": "keep-alive, X-Hop",
        "X-Hop": "1",
        "Keep-Alive": "timeout=5",
        "Proxy-Authorization": "Basic secret",
        "Proxy-Connection": "keep-alive",
        "TE": "trailers",
        "Trailer": "X-T",
        "X-End": "1",
    }
    async with Upstream(chat("a")) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        assert (await running.chat(headers=headers)).status == 200
        assert not set(upstream.request.names) & {name.encode() for name in (*HOP_BY_HOP, "x-hop", "transfer-encoding")}
        assert upstream.request.header("x-end") == b"1"


async def test_connection_cannot_name_away_what_the_gateway_needs(gateway: StartGateway) -> None:
    """``Connection: host, content-length, authorization`` does not strip what the endpoint must get from us."""
    async with Upstream(chat("a")) as upstream:
        running = await gateway(llm_conf(endpoint(upstream, api_key="k")))
        await running.chat(headers={"Connection": "host, content-length, authorization"})
        assert upstream.request.header("host") == upstream.address.encode()
        assert upstream.request.header("authorization") == b"Bearer k"
        assert upstream.request.body == chat_body()


async def test_hop_by_hop_response_fields_stay_upstream(gateway: StartGateway) -> None:
    """The endpoint's connection is not the client's."""
    fields = [JSON, (b"Connection", b"X-Hop"), (b"X-Hop", b"1"), (b"Keep-Alive", b"timeout=9"), (b"X-End", b"1")]
    async with Upstream(respond(200, fields)) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        reply = await running.chat()
        assert not set(reply.names) & {b"x-hop", b"keep-alive"}
        assert reply.header("x-end") == b"1"


async def test_response_fields_arrive_as_they_were_sent(gateway: StartGateway) -> None:
    """Two Set-Cookie stay two, one Date stays one; order, case and reason phrase are the endpoint's."""
    fields = [
        (b"Server", b"engine/1"),
        (b"Set-Cookie", b"a=1; Path=/"),
        (b"X-Ratelimit-Remaining", b"7"),
        (b"set-cookie", b"b=2"),
        (b"Date", b"Thu, 01 Jan 1970 00:00:00 GMT"),
        JSON,
    ]
    async with Upstream(respond(200, fields, reason="Fine Indeed")) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        reply = await running.chat()
        assert [field for field in reply.headers if field in fields] == fields
        assert len(reply.values("date")) == 1
        assert reply.reason == "Fine Indeed"


async def test_cookies_of_one_client_never_reach_another(gateway: StartGateway) -> None:
    """There is no cookie jar between the clients."""
    async with Upstream(chat("a", [(b"Set-Cookie", b"session=one")])) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        await running.chat()
        await running.chat()
        assert upstream.requests[1].header("cookie") is None


async def test_compressed_body_stays_compressed(gateway: StartGateway) -> None:
    """Content-Encoding and the bytes it describes are passed on together."""
    body = gzip.compress(b'{"a": 1}', mtime=0)
    async with Upstream(respond(200, [JSON, (b"Content-Encoding", b"gzip")], body)) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        reply = await running.chat(headers={"Accept-Encoding": "gzip"})
        assert upstream.request.header("accept-encoding") == b"gzip"
        assert (reply.header("content-encoding"), reply.body) == (b"gzip", body)


async def test_host_is_the_endpoints(gateway: StartGateway) -> None:
    """The Host field names the endpoint, or what its ``host`` key says."""
    async with Upstream(chat("a")) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        await running.chat()
        assert upstream.request.header("host") == upstream.address.encode()
    async with Upstream(chat("a")) as upstream:
        running = await gateway(llm_conf(endpoint(upstream, outer={"host": "api.example.com"})))
        await running.chat()
        assert upstream.request.header("host") == b"api.example.com"


async def test_plain_proxy_says_for_whom_it_asks(gateway: StartGateway) -> None:
    """X-Forwarded-For continues the client's list; with ``forwarded_headers: false`` nothing is added."""
    mine = {"X-Forwarded-For": "203.0.113.9"}
    async with Upstream([chat("a"), chat("a")]) as upstream:
        running = await gateway(http_conf(endpoint(upstream)))
        await running.request("GET", "/x", mine)
        assert b", ".join(upstream.request.values("x-forwarded-for")) == b"203.0.113.9, 127.0.0.1"
        assert upstream.request.header("x-forwarded-proto") == b"http"
        assert upstream.request.header("x-forwarded-host") == b"gateway.test"
        running = await gateway(http_conf(endpoint(upstream), proxy={"forwarded_headers": False}))
        await running.request("GET", "/x", mine)
        assert upstream.requests[1].values("x-forwarded-for") == [b"203.0.113.9"]


@pytest.mark.parametrize("target", ["/v1/a%2Fb/%7Ec?x=%20&y=+&z", "/v1//double/./dot/..", "/v1/x?a=b?c=d"])
async def test_target_is_passed_on_byte_for_byte(gateway: StartGateway, target: str) -> None:
    """Nothing is decoded, encoded, normalised or resolved in path and query."""
    async with Upstream(chat("a")) as upstream:
        running = await gateway(http_conf(endpoint(upstream)))
        await running.request("GET", target)
        assert upstream.request.target == target


async def test_path_prefix_is_put_before_the_path(gateway: StartGateway) -> None:
    """An endpoint may live below a path of its own."""
    async with Upstream(chat("a")) as upstream:
        running = await gateway(llm_conf(endpoint(upstream, outer={"path_prefix": "/compatible-mode"})))
        await running.request("POST", "/v1/x?y", body=b"{}")
        assert upstream.request.target == "/compatible-mode/v1/x?y"


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
async def test_responses_without_body_end_at_their_head(gateway: StartGateway, method: str, status: int) -> None:
    """HEAD, 204 and 304 have no body, whatever they announce, and the connection serves the next request."""
    async with Upstream([respond(status, body=b"abc"), respond(200, body=b"next")]) as upstream:
        running = await gateway(http_conf(endpoint(upstream)))
        async with running.client() as client:
            reply = await client.request(method, "/x")
            assert (reply.status, reply.body) == (status, b"")
            assert reply.header("content-length") == (b"3" if method == "HEAD" else None)
            assert (await client.request("GET", "/y")).body == b"next"
        assert upstream.accepted == 1


async def test_request_id_is_given_once_and_kept(gateway: StartGateway) -> None:
    """The client's own X-Request-Id is kept; otherwise the response names a new one."""
    async with Upstream([chat("a"), chat("a")]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        made = (await running.chat()).header("x-request-id")
        assert made
        assert (await running.chat(headers={"X-Request-Id": "mine-1"})).header("x-request-id") == b"mine-1"
        assert upstream.requests[1].header("x-request-id") == b"mine-1"
        assert [line["request_id"] for line in await running.wait_log(2)] == [made.decode(), "mine-1"]


async def test_local_reply_has_the_agreed_shape(gateway: StartGateway) -> None:
    """What the gateway answers itself is JSON with status, message and error, as in Pixiu."""
    async with Upstream([]) as upstream:
        routes = [{"match": {"prefix": "/v1"}, "route": {"cluster": "main"}}]
        running = await gateway(llm_conf(endpoint(upstream), routes=routes))
        reply = await running.request("GET", "/other")
        assert (reply.status, reply.header("content-type")) == (404, b"application/json")
        assert reply.json()["status"] == 404
        assert set(reply.json()) <= {"status", "message", "error"}


async def test_failed_attempt_leaves_no_trace_in_the_next(gateway: StartGateway) -> None:
    """Headers are made anew for every attempt: apart from credentials and Host they are the same for both."""
    async with Upstream(error(500)) as first, Upstream(chat("b")) as second:
        running = await gateway(llm_conf(endpoint(first, api_key="k1", fallback=True), endpoint(second, api_key="k2")))
        await running.chat(headers={"X-A": "1", "Authorization": "Bearer mine"})
        own = (b"host", b"authorization")
        seen = [[f for f in up.request.headers if f[0].lower() not in own] for up in (first, second)]
        assert seen[0] == seen[1]
        assert second.request.header("authorization") == b"Bearer k2"


async def test_absolute_target_is_reduced_and_names_the_host(gateway: StartGateway) -> None:
    """RFC 9112 section 3.2.2: its authority takes the place of Host, for routing as well."""
    async with Upstream(chat("a")) as upstream:
        routes = [{"match": {"prefix": "/v1", "hosts": ["one.example"]}, "route": {"cluster": "main"}}]
        running = await gateway(http_conf(endpoint(upstream), routes=routes))
        async with running.client() as client:
            await client.send(b"GET http://one.example/v1/x?y=1 HTTP/1.1\r\nHost: other.example\r\n\r\n")
            assert (await client.read_response()).status == 200
        assert upstream.request.target == "/v1/x?y=1"
