"""Keys and tokens: each goes to its own endpoint and nowhere else, least of all into a log or an error."""

from __future__ import annotations

import asyncio
import gzip

import pytest

from tests.conftest import StartGateway
from tests.fakes.actions import JSON, head, raw, respond
from tests.fakes.bodies import chat, error
from tests.fakes.client import chat_body, request
from tests.fakes.conf import endpoint, llm_conf
from tests.fakes.upstream import Upstream, refusing_port

MINE = {"Authorization": "Bearer client-token"}


@pytest.mark.parametrize(("client_auth", "seen"), [("pass", b"Bearer client-token"), ("drop", None)])
async def test_key_of_a_failed_endpoint_never_reaches_the_next(
    gateway: StartGateway, client_auth: str, seen: bytes | None
) -> None:
    """An endpoint without a key sees the client's own credential or none, as configured; never its neighbour's."""
    async with Upstream(error(500)) as first, Upstream(chat("b")) as second:
        running = await gateway(
            llm_conf(endpoint(first, api_key="first-key", fallback=True), endpoint(second, client_auth=client_auth))
        )
        assert (await running.chat(headers=MINE)).status == 200
        assert first.request.header("authorization") == b"Bearer first-key"
        assert second.request.header("authorization") == seen
        assert b"first-key" not in second.request.head


async def test_client_without_credential_gets_none(gateway: StartGateway) -> None:
    """No key, no token: the endpoint sees neither."""
    async with Upstream(error(500)) as first, Upstream(chat("b")) as second:
        running = await gateway(llm_conf(endpoint(first, api_key="first-key", fallback=True), endpoint(second)))
        await running.chat()
        assert second.request.header("authorization") is None


@pytest.mark.parametrize("name", ["Authorization", "x-api-key", "api-key", "X-Goog-Api-Key"])
async def test_endpoint_key_replaces_every_kind_of_client_credential(gateway: StartGateway, name: str) -> None:
    """Where the endpoint has a key, the client's goes nowhere, in whichever header it came."""
    async with Upstream(chat("a")) as upstream:
        running = await gateway(llm_conf(endpoint(upstream, api_key="k")))
        await running.chat(headers={name: "client-token"})
        assert b"client-token" not in upstream.request.head
        assert upstream.request.header("authorization") == b"Bearer k"


async def test_key_goes_into_the_header_that_the_endpoint_wants(gateway: StartGateway) -> None:
    """``auth_header`` names it; only Authorization has a Bearer before the key."""
    async with Upstream(chat("a")) as upstream:
        running = await gateway(llm_conf(endpoint(upstream, api_key="k", auth_header="x-api-key")))
        await running.chat(headers=MINE)
        assert upstream.request.header("x-api-key") == b"k"
        assert upstream.request.header("authorization") is None


async def test_client_cannot_fill_the_header_of_the_endpoints_key(gateway: StartGateway) -> None:
    """Whatever header it is, there is one key in it and it is the endpoint's."""
    async with Upstream(chat("a")) as upstream:
        running = await gateway(llm_conf(endpoint(upstream, api_key="k", auth_header="x-custom-key")))
        await running.chat(headers={"X-Custom-Key": "client-token"})
        assert upstream.request.values("x-custom-key") == [b"k"]


async def test_dropped_credential_is_dropped_in_every_header(gateway: StartGateway) -> None:
    """``client_auth: drop`` means all of them, not Authorization alone."""
    async with Upstream(chat("a")) as upstream:
        running = await gateway(llm_conf(endpoint(upstream, client_auth="drop")))
        await running.chat(headers={**MINE, "x-api-key": "client-token"})
        assert b"client-token" not in upstream.request.head


@pytest.mark.parametrize("status", [401, 403])
async def test_rejected_key_falls_back_without_a_second_try(gateway: StartGateway, status: int) -> None:
    """401 and 403 mean this endpoint's key: trying it again is useless, another endpoint may do."""
    async with Upstream([error(status)]) as first, Upstream(chat("b")) as second:
        running = await gateway(llm_conf(endpoint(first, api_key="bad", fallback=True, retry=3), endpoint(second)))
        assert (await running.chat()).status == 200
        assert len(first.requests) == 1


async def test_errors_reveal_neither_key_nor_address(gateway: StartGateway, capfd: pytest.CaptureFixture[str]) -> None:
    """Whatever fails: no key in the reply, in the access log or in what the gateway prints; no address in the reply."""
    with refusing_port() as port:
        running = await gateway(llm_conf(endpoint(port, "e1", api_key="very-secret")))
        reply = await running.chat(headers=MINE)
        assert reply.status in (502, 503)
        assert b"very-secret" not in reply.body
        assert str(port).encode() not in reply.body
        assert b"127.0.0.1" not in reply.head + reply.body
        printed = "".join(capfd.readouterr()) + repr(await running.wait_log())
        assert "very-secret" not in printed
        assert "client-token" not in printed


@pytest.mark.parametrize("status", [400, 401, 404, 500])
async def test_key_that_an_endpoint_repeats_is_hidden(gateway: StartGateway, status: int) -> None:
    """Some providers quote the key that they refuse: not before our clients."""
    async with Upstream([error(status, message="incorrect key: very-secret")]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream, api_key="very-secret")))
        reply = await running.chat()
        assert reply.status == status
        assert b"incorrect key: ***" in reply.body
        assert b"very-secret" not in reply.body


@pytest.mark.parametrize("status", [400, 500])
@pytest.mark.parametrize("chunked", [False, True])
async def test_key_is_hidden_wherever_it_stands(gateway: StartGateway, status: int, chunked: bool) -> None:
    """In a compressed body, in fields, in the reason, and in a body that comes in pieces."""
    body = b'{"error":{"message":"bad very-secret key"}}'
    fields = [JSON, (b"Content-Encoding", b"gzip"), (b"X-Told", b"very-secret")]
    packed = respond(status, fields, gzip.compress(body), chunked=chunked, reason="Bad very-secret")
    plain = respond(status, [JSON], body, chunked=chunked, split=[20, 30])
    async with Upstream([packed, plain]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream, api_key="very-secret")))
        replies = [await running.chat(headers={"Accept-Encoding": "gzip"}), await running.chat()]
    assert [reply.status for reply in replies] == [status, status]
    assert [reply.body for reply in replies] == [body.replace(b"very-secret", b"***")] * 2
    assert [reply.header("content-encoding") for reply in replies] == [None, None]
    assert replies[0].header("x-told") == b"***"
    assert b"very-secret" not in replies[0].head + replies[1].head


@pytest.mark.parametrize("chunked", [False, True])
async def test_error_without_a_key_goes_on_as_it_is(gateway: StartGateway, chunked: bool) -> None:
    """Compressed as it came, also where it is longer than what is looked through."""
    body = gzip.compress(b'{"error":{"message":"bad request"}}')
    long = b"x" * 5000
    answers = [
        respond(400, [JSON, (b"Content-Encoding", b"gzip")], body, chunked=chunked),
        respond(400, [JSON], long, chunked=chunked, split=[2000, 4000]),
    ]
    async with Upstream(answers) as upstream:
        running = await gateway(llm_conf(endpoint(upstream, api_key="very-secret"), proxy={"failed_body_limit": 1000}))
        first, second = await running.chat(), await running.chat()
    assert (first.status, first.body, first.header("content-encoding")) == (400, body, b"gzip")
    assert (second.status, second.body) == (400, long)


async def test_error_that_takes_long_goes_on_as_it_comes(gateway: StartGateway) -> None:
    """It is looked through for a key only while that holds up nobody for long; nothing of it is lost then."""
    rest = asyncio.Event()
    slow = raw(head(400, [JSON, (b"Content-Length", b"10")]) + b"begin", rest, b" end!")
    async with Upstream([slow]) as upstream:
        config = llm_conf(endpoint(upstream, api_key="very-secret"), proxy={"failed_body_timeout": "20ms"})
        running = await gateway(config)
        async with running.client() as client:
            await client.send(request("POST", "/v1/chat/completions", body=chat_body()))
            await client.read_until(b"begin")
            rest.set()
            assert await client.read_until(b" end!") == b" end!"


async def test_key_comes_from_the_environment(gateway: StartGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """``${NAME}`` in the configuration is the variable's value."""
    monkeypatch.setenv("TEST_ENDPOINT_KEY", "from-env")
    async with Upstream(chat("a")) as upstream:
        running = await gateway(llm_conf(endpoint(upstream, api_key="${TEST_ENDPOINT_KEY}")))
        await running.chat()
        assert upstream.request.header("authorization") == b"Bearer from-env"
