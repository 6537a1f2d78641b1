"""The simple HTTP filters in a whole gateway: what they decide really reaches the client and the endpoint."""

from __future__ import annotations

import orjson
from structlog.testing import capture_logs

from tests.conftest import StartGateway
from tests.fakes.actions import respond, stream
from tests.fakes.bodies import DONE, chat, event
from tests.fakes.conf import endpoint, http_conf, http_filter, llm_conf
from tests.fakes.upstream import Upstream, refusing_port

ORIGIN = {"Origin": "https://app.example.com"}
CORS = http_filter("dgp.filter.http.cors", allow_origin=["https://app.example.com"], allow_credentials=True)


async def test_cors_headers_are_on_every_answer(gateway: StartGateway) -> None:
    """The endpoint's answer, an answer of a later filter's, and a failure to reach any endpoint."""
    deny = http_filter("dgp.filter.http.authority", authority_rules=[{"limit": 1, "strategy": 1, "items": ["admin"]}])
    async with Upstream(respond()) as upstream:
        running = await gateway(http_conf(endpoint(upstream), filters=[CORS, deny]))
        replies = [await running.request("GET", target, ORIGIN) for target in ("/", "/admin")]
    with refusing_port() as port:
        broken = await gateway(http_conf(endpoint(port), filters=[CORS]))
        replies.append(await broken.request("GET", "/", ORIGIN))
    assert [reply.status for reply in replies] == [200, 403, 502]
    assert [reply.header("access-control-allow-origin") for reply in replies] == [b"https://app.example.com"] * 3


async def test_a_preflight_does_not_reach_the_endpoint(gateway: StartGateway) -> None:
    """It is answered with 204 and without a body."""
    async with Upstream(respond()) as upstream:
        running = await gateway(http_conf(endpoint(upstream), filters=[CORS]))
        async with running.client() as client:
            reply = await client.request("OPTIONS", "/", {**ORIGIN, "Access-Control-Request-Method": "PUT"})
            assert (reply.status, reply.body) == (204, b"")
            assert (await client.request("GET", "/", ORIGIN)).status == 200
        assert [request.method for request in upstream.requests] == ["GET"]


async def test_host_and_path_are_those_of_the_config(gateway: StartGateway) -> None:
    """The endpoint sees the rewritten target and the configured Host; the client the added field."""
    filters = [
        http_filter("dgp.filter.http.host", host="internal.example.com"),
        http_filter("dgp.filter.http.proxyrewrite", uri_regex=["^/api/(.*)$", "/$1"], headers={"X-Rewritten": "yes"}),
    ]
    async with Upstream(respond()) as upstream:
        running = await gateway(http_conf(endpoint(upstream), filters=filters))
        reply = await running.request("GET", "/api/users?page=2")
        assert upstream.request.target == "/users?page=2"
        assert upstream.request.header("host") == b"internal.example.com"
        assert reply.header("x-rewritten") == b"yes"


async def test_the_csrf_secret_stays_here_and_a_form_arrives_whole(gateway: StartGateway) -> None:
    """Also when the token had to be looked for in the body."""
    csrf = http_filter("dgp.filter.http.csrf", key="token", secret="s3cret")
    body = b"token=c2FsdC1zM2NyZXQ%3D&a=b"  # base64 of salt-s3cret
    form = {"csrfSalt": "salt", "Content-Type": "application/x-www-form-urlencoded"}
    async with Upstream(respond()) as upstream:
        running = await gateway(http_conf(endpoint(upstream), filters=[csrf]))
        assert (await running.request("POST", "/", form, body)).status == 200
        assert upstream.request.body == body
        assert b"s3cret" not in upstream.request.head
        assert (await running.request("POST", "/", {**form, "csrfSalt": "other"}, body)).status == 403


async def test_a_canary_goes_to_its_cluster_and_only_that_request(gateway: StartGateway) -> None:
    """The route is shared by all requests and does not change."""
    traffic = http_filter("dgp.filter.http.traffic", traffics=[{"name": "v2", "router": "/", "canary-by-header": "v2"}])
    async with Upstream(respond(body=b"1")) as first, Upstream(respond(body=b"2")) as second:
        canary = {"name": "v2", "endpoints": [{"socket_address": {"address": "127.0.0.1", "port": second.port}}]}
        running = await gateway(http_conf(endpoint(first), filters=[traffic], clusters=[canary]))
        headers = ({}, {"canary-by-header": "v2"}, {})
        assert [(await running.request("GET", "/", fields)).body for fields in headers] == [b"1", b"2", b"1"]


async def test_rate_limit_and_fault(gateway: StartGateway) -> None:
    """Pixiu's own spelling of a flow rule, and a fault for one path."""
    rule = {"resource": "all", "threshold": 1, "statintervalinms": 60000}
    limit = http_filter(
        "dgp.filter.http.ratelimit",
        resources=[{"name": "all", "items": [{"matchStrategy": 1, "pattern": "^/limited"}]}],
        rules=[{"enable": True, "flowRule": rule}],
    )
    abort = {"type": "abort", "trigger_type": "always", "status_code": 418, "body": "no"}
    fault = http_filter("dgp.filter.http.faultinjection", fail_inject_rules={"/broken": abort})
    async with Upstream(respond()) as upstream:
        running = await gateway(http_conf(endpoint(upstream), filters=[limit, fault]))
        replies = [await running.request("GET", target) for target in ("/limited", "/limited", "/other", "/broken")]
    assert [reply.status for reply in replies] == [200, 429, 200, 418]
    assert 59 <= int(replies[1].header("retry-after") or b"") <= 62
    assert replies[3].body == b"no"


async def test_tokens_are_counted_and_no_byte_is_changed(gateway: StartGateway) -> None:
    """A JSON answer with its Content-Length, and a stream, chunk for chunk."""
    tokenizer = http_filter("dgp.filter.llm.tokenizer", log_to_console=True)
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    events = [event({"model": "m", "choices": []}), event({"model": "m", "choices": [], "usage": usage}), DONE]
    async with Upstream([chat("a"), stream(events)]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream), filters=[tokenizer]))
        with capture_logs() as logs:
            whole = await running.chat()
            streamed = await running.chat(stream=True)
            await running.wait_log(2)
    assert whole.header("content-length") == str(len(whole.body)).encode()
    assert orjson.loads(whole.body)["usage"] == usage
    assert streamed.body == b"".join(events)
    assert [entry["tokens"] for entry in logs if entry["event"] == "usage"] == [usage, usage]
