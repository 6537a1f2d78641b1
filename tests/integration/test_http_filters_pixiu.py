"""Circuit breaker, JWT and request metrics in a whole gateway, from YAML as it is written for Pixiu."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from pixiu_py.errors import ConfigError
from tests.conftest import StartGateway
from tests.fakes.actions import raw, respond
from tests.fakes.bodies import chat
from tests.fakes.client import Client, request
from tests.fakes.conf import endpoint, http_conf, http_filter, llm_conf
from tests.fakes.gateway import RunningGateway
from tests.fakes.tokens import ec_signer, key_set
from tests.fakes.upstream import Upstream

SERVE = {"metric": {"enable": True, "prometheus_port": 0}}


async def metrics_of(running: RunningGateway) -> str:
    """The page."""
    async with Client(running.ports["metrics"]) as client:
        return (await client.request("GET", "/metrics")).body.decode()


# --- circuit breaker -------------------------------------------------------------------------------------------------


def breaker(**rule: Any) -> dict[str, Any]:
    """A breaker for everything below /api, with Pixiu's spelling."""
    resource = {"name": "api", "items": [{"matchStrategy": 1, "pattern": "^/api/"}]}
    defaults = {"resource": "api", "strategy": 2, "threshold": 2, "retrytimeoutms": 60000, "statIntervalMs": 60000}
    return http_filter("dgp.filter.http.circuitbreaker", resources=[resource], rules=[{**defaults, **rule}])


async def test_a_breaker_keeps_requests_from_what_fails(gateway: StartGateway) -> None:
    """After two errors nothing below /api reaches the endpoint; the rest does."""
    async with Upstream([respond(500), respond(502), respond()]) as upstream:
        running = await gateway(http_conf(endpoint(upstream), filters=[breaker()], top=SERVE))
        replies = [await running.request("GET", target) for target in ("/api/a", "/api/b", "/api/c", "/other")]
        page = await metrics_of(running)
    assert [reply.status for reply in replies] == [500, 502, 503, 200]
    assert 55 <= int(replies[2].header("retry-after") or b"") <= 60
    assert orjson.loads(replies[2].body)["error"] == "the circuit breaker is open"
    assert 'pixiu_py_circuit_breaker_wait_seconds{resource="api",strategy="error_count",state="open"}' in page


async def test_a_breaker_closes_after_a_good_probe(gateway: StartGateway) -> None:
    """The next request after the retry time is the probe."""
    async with Upstream([respond(500), respond(), respond()]) as upstream:
        running = await gateway(http_conf(endpoint(upstream), filters=[breaker(threshold=1, retrytimeoutms=1)]))
        assert (await running.request("GET", "/api/a")).status == 500
        async with asyncio.timeout(5):
            while (await running.request("GET", "/api/a")).status == 503:
                pass
        assert (await running.request("GET", "/api/a")).status == 200
        assert len(upstream.requests) == 3


async def test_an_answer_that_breaks_off_counts_and_a_client_that_leaves_does_not(gateway: StartGateway) -> None:
    """Both began with a 200."""
    half = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", then="close")
    stalled = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", asyncio.Event())
    async with Upstream([stalled, half]) as upstream:
        running = await gateway(http_conf(endpoint(upstream), filters=[breaker(threshold=1)]))
        async with running.client() as client:
            await client.send(request("GET", "/api/a"))
            await client.read_head()
            client.abort()
        assert (await running.wait_log(1))[0]["end"] == "client_gone"
        assert not (await running.request("GET", "/api/a")).complete
        assert (await running.request("GET", "/api/a")).status == 503


# --- JWT -------------------------------------------------------------------------------------------------------------

SIGNER = ec_signer()
AUTHORIZED = {"Authorization": "Bearer " + SIGNER.token(aud="api")}


def jwt_filter(**provider: Any) -> dict[str, Any]:
    """Tokens for /v1, with Pixiu's spelling."""
    keys = {} if "remote_jwks" in provider else {"local_jwks": {"inline_string": key_set(SIGNER)}}
    rules = [{"match": {"prefix": "/v1"}, "requires": {"requires_any": {"provider_name": "issuer"}}}]
    providers = [{"name": "issuer", "issuer": "https://issuer.test", "audiences": ["api"], **keys, **provider}]
    return http_filter("dgp.filter.http.auth.jwt", err_msg="no entry", rules=rules, providers=providers)


async def test_the_endpoint_gets_the_claims_and_not_the_token(gateway: StartGateway) -> None:
    """Nobody without a token gets through, and a forged claim does not either."""
    async with Upstream(chat("hi")) as upstream:
        filters = [jwt_filter(forward_payload_header="x-claims")]
        running = await gateway(llm_conf(endpoint(upstream), filters=filters))
        refused = await running.chat(headers={"X-Claims": "forged"})
        assert (refused.status, orjson.loads(refused.body)["error"]) == (401, "no entry")
        assert (refused.header("www-authenticate") or b"").startswith(b"Bearer ")
        assert (await running.chat(headers={**AUTHORIZED, "X-Claims": "forged"})).status == 200
        assert upstream.request.header("authorization") is None
        assert upstream.request.header("x-claims") == AUTHORIZED["Authorization"].split(".")[1].encode()


async def test_a_token_that_is_to_go_on_goes_on(gateway: StartGateway) -> None:
    async with Upstream(chat("hi")) as upstream:
        running = await gateway(llm_conf(endpoint(upstream), filters=[jwt_filter(forward=True)]))
        assert (await running.chat(headers=AUTHORIZED)).status == 200
        assert upstream.request.header("authorization") == AUTHORIZED["Authorization"].encode()


async def test_keys_are_fetched_and_fetched_again(gateway: StartGateway) -> None:
    """The issuer has been down at the start: 503 until it is back, and then 200."""
    back = asyncio.Event()

    async def keys(_: object) -> Any:
        return respond(body=key_set(SIGNER).encode()) if back.is_set() else respond(500)

    async with Upstream(keys) as issuer, Upstream(chat("hi")) as upstream:
        uri = {"uri": f"http://{issuer.address}/jwks", "timeout": "5s", "cluster": "x", "min_refresh_interval": "1ms"}
        running = await gateway(llm_conf(endpoint(upstream), filters=[jwt_filter(remote_jwks={"http_uri": uri})]))
        assert (await running.chat(headers=AUTHORIZED)).status == 503
        back.set()
        async with asyncio.timeout(5):
            while (status := (await running.chat(headers=AUTHORIZED)).status) == 503:
                pass
        assert status == 200


async def test_a_refusal_has_its_cors_fields(gateway: StartGateway) -> None:
    """So that the page that asked can read it."""
    cors = http_filter("dgp.filter.http.cors", allow_origin=["https://app.example.com"])
    running = await gateway(http_conf(endpoint(1), filters=[cors, jwt_filter()]))
    reply = await running.request("GET", "/v1", {"Origin": "https://app.example.com"})
    assert (reply.status, reply.header("access-control-allow-origin")) == (401, b"https://app.example.com")


# --- request metrics -------------------------------------------------------------------------------------------------


async def test_request_metrics_have_the_route_and_the_real_status(gateway: StartGateway) -> None:
    """Both filters at once; two users, one series."""
    filters = [http_filter("dgp.filter.http.metric"), http_filter("dgp.filter.http.prometheusmetric")]
    routes = [{"match": {"path": "/users/:id"}, "route": {"cluster": "main"}}]
    async with Upstream(respond(201, body=b"12345")) as upstream:
        running = await gateway(http_conf(endpoint(upstream), filters=filters, routes=routes, top=SERVE))
        for user in ("1", "2"):
            await running.request("PUT", f"/users/{user}", body=b"abc")
        await running.wait_log(2)
        page = await metrics_of(running)
    labels = 'code="201",method="PUT",url="/users/:id",host="gateway.test"'
    assert f"pixiu_request_count{{{labels}}} 2\n" in page
    assert f"pixiu_request_content_length{{{labels}}} 6\n" in page
    assert f"pixiu_response_content_length{{{labels}}} 10\n" in page
    assert 'pixiu_requests_total{code="201",method="PUT",host="gateway.test",url="/users/:id"} 2\n' in page
    assert 'pixiu_request_duration_seconds_count{code="201",method="PUT",url="/users/:id"} 2\n' in page


@pytest.mark.parametrize(
    "block",
    [
        http_filter("dgp.filter.http.prometheusmetric", metric_collect_rules={"counter_push": True}),
        http_filter("dgp.filter.http.metric", mode="push"),
        http_filter("dgp.filter.http.metric", push_config={"gateway_url": "http://127.0.0.1:9091"}),
    ],
)
async def test_a_file_that_pushes_is_told_what_to_do(gateway: StartGateway, block: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="let Prometheus scrape its port"):
        await gateway(http_conf(endpoint(1), filters=[block]))
