"""Another try at the same endpoint: when it may help, how often, how soon, and never after the first byte."""

from __future__ import annotations

import asyncio

import pytest

from tests.conftest import StartGateway
from tests.fakes import actions, bodies
from tests.fakes.actions import respond
from tests.fakes.bodies import chat, error, rate_limited
from tests.fakes.client import chat_body, request
from tests.fakes.conf import Block, endpoint, llm_conf
from tests.fakes.upstream import Action, Upstream, refusing_port

BACKOFF = {"name": "ExponentialBackoff", "config": {"times": 5, "initialInterval": "1h", "maxInterval": "1h"}}
CHAT = request("POST", "/v1/chat/completions", body=chat_body())


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_passing_trouble_is_retried(gateway: StartGateway, status: int) -> None:
    """These statuses may be different a moment later."""
    async with Upstream([error(status), chat("ok")]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream, retry=1)))
        assert (await running.chat()).status == 200
        assert len(upstream.requests) == 2


@pytest.mark.parametrize("status", [301, 400, 404, 405, 409, 413, 415, 422])
async def test_the_clients_own_mistake_is_not_retried(gateway: StartGateway, status: int) -> None:
    """It would be the same everywhere: passed on untouched, no other endpoint is bothered, none cools down."""
    mistake = error(status, message="your fault")
    async with Upstream([mistake, mistake]) as first, Upstream([mistake, mistake]) as second:
        policy: Block = {"retry": 3, "fallback": True, "health_check_interval": 60_000}
        running = await gateway(llm_conf(endpoint(first, **policy), endpoint(second, **policy)))
        for _ in range(4):
            reply = await running.chat()
            assert reply.status == status
            assert b"your fault" in reply.body
        assert len(first.requests) == 2


async def test_statuses_to_retry_can_be_chosen(gateway: StartGateway) -> None:
    """``retry_on`` replaces the list."""
    policy = {"name": "CountBased", "config": {"times": 1, "retry_on": [418]}}
    async with Upstream([error(418), chat("ok"), error(500)]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream, retry=policy)))
        assert (await running.chat()).status == 200
        assert (await running.chat()).status == 500


@pytest.mark.parametrize("times", [0, 1, 3])
async def test_number_of_tries_is_exact(gateway: StartGateway, times: int) -> None:
    """``times`` retries after the first try, not one more; the last answer is passed on."""
    async with Upstream([error(500, message=f"try {n}") for n in range(times + 1)]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream, retry=times)))
        reply = await running.chat()
        assert reply.status == 500
        assert f"try {times}".encode() in reply.body
        assert len((await running.wait_log())[0]["attempts"]) == times + 1


@pytest.mark.parametrize("broken", [actions.close(), actions.reset(), actions.reset_on_accept()])
async def test_connection_lost_before_any_answer_is_retried(gateway: StartGateway, broken: Action) -> None:
    """Nothing has come: the same endpoint is tried again, as its policy says."""
    async with Upstream([broken, chat("ok")]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream, retry=1)))
        assert (await running.chat()).status == 200
        attempts = (await running.wait_log())[0]["attempts"]
        assert [attempt["error"] for attempt in attempts] == ["reset", ""]


async def test_refused_connection_is_retried_too(gateway: StartGateway) -> None:
    """Pixiu gives up here; an endpoint that restarts deserves its retries."""
    with refusing_port() as port:
        running = await gateway(llm_conf(endpoint(port, retry=2)))
        assert (await running.chat()).status == 502
        attempts = (await running.wait_log())[0]["attempts"]
        assert [attempt["error"] for attempt in attempts] == ["connect_failed"] * 3


async def test_stale_connection_is_replaced_silently(gateway: StartGateway) -> None:
    """An idle connection that the endpoint was just closing costs no attempt and needs no policy."""
    async with Upstream([chat("one"), actions.close(), chat("two")]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        assert (await running.chat()).status == 200
        assert (await running.chat()).status == 200
        assert [seen.connection for seen in upstream.requests] == [1, 1, 2]
        assert len((await running.wait_log(2))[1]["attempts"]) == 1


async def test_fresh_connection_that_dies_is_an_attempt(gateway: StartGateway) -> None:
    """Only a reused connection has the excuse of having been idle."""
    async with Upstream([actions.close()]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        assert (await running.chat()).status == 502


async def test_answer_that_has_begun_is_not_asked_for_again(gateway: StartGateway) -> None:
    """A connection that dies in the middle of a response head is no stale one."""
    async with Upstream([chat("one"), actions.close(b"HTTP/1.1 200 OK\r\nConte")]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        await running.chat()
        assert (await running.chat()).status == 502


async def test_streaming_requests_are_retried_like_others(gateway: StartGateway) -> None:
    """Before the first byte a stream is a request like any other."""
    async with Upstream([error(503), bodies.chat_sse("ok")]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream, retry=1)))
        assert (await running.chat(stream=True)).body.endswith(bodies.DONE)


async def test_retry_after_is_waited_for(gateway: StartGateway) -> None:
    """The endpoint says when; earlier is pointless."""
    times: list[float] = []

    def script(seen: object) -> Action:
        times.append(asyncio.get_running_loop().time())
        return rate_limited("1") if len(times) == 1 else chat("ok")

    async with Upstream(script) as upstream:
        running = await gateway(llm_conf(endpoint(upstream, retry=1)))
        assert (await running.chat()).status == 200
        assert times[1] - times[0] >= 0.99


async def test_long_retry_after_is_not_waited_for(gateway: StartGateway) -> None:
    """Above ``max_retry_after`` the tries at this endpoint end; with no other the client is told how long."""
    async with Upstream([rate_limited("3600")]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream, retry=5)))
        reply = await running.chat()
        assert reply.status == 429
        assert reply.header("retry-after") == b"3600"


async def test_long_retry_after_falls_back_at_once(gateway: StartGateway) -> None:
    """Another endpoint is better than a pause."""
    async with Upstream([rate_limited("3600")]) as first, Upstream([chat("b")]) as second:
        running = await gateway(llm_conf(endpoint(first, retry=5, fallback=True), endpoint(second)))
        assert (await running.chat()).status == 200


async def test_back_off_ends_when_the_client_goes(gateway: StartGateway) -> None:
    """Nobody waits an hour for somebody who has left."""
    async with Upstream([error(500)]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream, retry=BACKOFF)))
        async with running.client() as client:
            await client.send(CHAT)
            await upstream.until(lambda up: up.accepted == 1 and bool(up.requests))
        assert (await running.wait_log())[0]["end"] == "client_gone"


async def test_failed_responses_are_drained_or_closed(gateway: StartGateway) -> None:
    """A discarded answer leaves no connection hanging, and a small one is read so that its connection serves again."""
    async with Upstream([error(500), chat("ok")]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream, retry=1)))
        await running.chat()
        assert upstream.accepted == 1
    endless = actions.stream([b"x" * 2**21], status=500, then="hold")
    async with Upstream([endless, chat("ok")]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream, retry=1)))
        assert (await running.chat()).status == 200
        await upstream.until(lambda up: up.connections[0].lost.is_set())


async def test_final_failure_is_the_endpoints_own(gateway: StartGateway) -> None:
    """The last status goes to the client with its fields and its body, not with a wrapper of ours."""
    body = b'{"error": {"message": "engine died", "code": 7}}'
    answer = respond(503, [(b"Content-Type", b"application/json"), (b"Retry-After", b"9"), (b"X-Id", b"1")], body)
    async with Upstream([answer]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        reply = await running.chat()
        assert (reply.status, reply.body) == (503, body)
        assert (reply.header("retry-after"), reply.header("x-id")) == (b"9", b"1")


@pytest.mark.parametrize(
    "garbage",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"HTTP/1.1 200 OK\r\nBad\x00Name: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
    ],
)
async def test_garbage_from_an_endpoint_is_its_failure(gateway: StartGateway, garbage: bytes) -> None:
    """What is not HTTP is answered by another endpoint; alone, it is a 502 that says nothing of the garbage."""
    async with Upstream(actions.raw(garbage, then="close")) as first, Upstream(chat("b")) as second:
        running = await gateway(llm_conf(endpoint(first, fallback=True), endpoint(second)))
        assert (await running.chat()).status == 200
        running = await gateway(llm_conf(endpoint(first)))
        reply = await running.chat()
        assert reply.status == 502
        assert reply.json()["status"] == 502
