"""The next endpoint: in which order, how often, and what the client hears when none is left."""

from __future__ import annotations

import pytest

from tests.conftest import StartGateway
from tests.fakes import actions
from tests.fakes.bodies import chat, error, rate_limited
from tests.fakes.conf import endpoint, llm_conf
from tests.fakes.upstream import Upstream, refusing_port


async def tried(running: object) -> list[str]:
    """Ids of the endpoints of the last request, in the order in which they were tried."""
    return [attempt["endpoint"] for attempt in (await running.wait_log())[-1]["attempts"]]  # type: ignore[attr-defined]


async def test_order_is_the_configurations(gateway: StartGateway) -> None:
    """After the balancer's pick come the others as they are written."""
    async with Upstream(error(500)) as bad, Upstream(chat("c")) as good:
        endpoints = [endpoint(bad, "a", fallback=True), endpoint(bad, "b", fallback=True), endpoint(good, "c")]
        running = await gateway(llm_conf(*endpoints))
        assert (await running.chat()).status == 200
        assert await tried(running) == ["a", "b", "c"]


async def test_order_wraps_round(gateway: StartGateway) -> None:
    """Starting at the last endpoint, the first is next: Pixiu has nothing left there."""
    async with Upstream([chat("a"), chat("a")]) as good, Upstream([error(500)]) as bad:
        running = await gateway(llm_conf(endpoint(good, "a"), endpoint(bad, "b", fallback=True)))
        assert (await running.chat()).status == 200
        assert (await running.chat()).status == 200
        assert [a["endpoint"] for a in (await running.wait_log(2))[1]["attempts"]] == ["b", "a"]


async def test_each_endpoint_is_tried_once(gateway: StartGateway) -> None:
    """However often it wraps, nobody is asked twice."""
    async with Upstream(error(500)) as bad:
        running = await gateway(llm_conf(*(endpoint(bad, name, fallback=True) for name in "abc")))
        assert (await running.chat()).status == 500
        assert await tried(running) == ["a", "b", "c"]


async def test_endpoint_without_fallback_is_the_end(gateway: StartGateway) -> None:
    """``fallback: false`` on the endpoint that failed keeps the request there."""
    async with Upstream([error(500)]) as bad, Upstream([]) as good:
        running = await gateway(llm_conf(endpoint(bad), endpoint(good)))
        assert (await running.chat()).status == 500


async def test_retries_come_before_the_fallback(gateway: StartGateway) -> None:
    """One endpoint's policy is used up before the next one is asked."""
    async with Upstream([error(500), error(500)]) as bad, Upstream([chat("b")]) as good:
        running = await gateway(llm_conf(endpoint(bad, "a", retry=1, fallback=True), endpoint(good, "b")))
        await running.chat()
        assert await tried(running) == ["a", "a", "b"]


@pytest.mark.parametrize("first_fails", [True, False])
async def test_an_answer_says_more_than_a_lost_connection(gateway: StartGateway, first_fails: bool) -> None:
    """When all fail, the client gets the last response there was, whichever endpoint failed without one."""
    with refusing_port() as port:
        async with Upstream([error(500, message="out of memory")]) as upstream:
            there, gone = endpoint(upstream, fallback=True), endpoint(port, fallback=True)
            running = await gateway(llm_conf(*([there, gone] if first_fails else [gone, there])))
            reply = await running.chat()
            assert reply.status == 500
            assert b"out of memory" in reply.body


async def test_last_answer_is_the_one_that_counts(gateway: StartGateway) -> None:
    """Of several failures with an answer, the last is passed on, as it is."""
    async with Upstream([error(500)]) as first, Upstream([error(503, message="the last")]) as second:
        running = await gateway(llm_conf(endpoint(first, fallback=True), endpoint(second, fallback=True)))
        reply = await running.chat()
        assert reply.status == 503
        assert b"the last" in reply.body


async def test_no_answer_at_all_is_a_gateway_error(gateway: StartGateway) -> None:
    """502 in the agreed shape when no endpoint could be reached."""
    with refusing_port() as one, refusing_port() as two:
        running = await gateway(llm_conf(endpoint(one, fallback=True), endpoint(two, fallback=True)))
        reply = await running.chat()
        assert reply.status == 502
        assert reply.json()["message"] == "Bad gateway"


async def test_statuses_to_fall_back_on_can_be_chosen(gateway: StartGateway) -> None:
    """``fall_back_on`` replaces the list of those that are the endpoint's own fault: no retry there, but another one."""
    async with Upstream([error(404)]) as first, Upstream([chat("b"), error(401)]) as second:
        endpoints = [endpoint(first, retry=2, fallback=True), endpoint(second, fallback=True)]
        running = await gateway(llm_conf(*endpoints, proxy={"fall_back_on": [404]}))
        assert (await running.chat()).status == 200
        assert (await running.chat()).status == 401


async def test_rate_limits_everywhere_tell_the_client_when(gateway: StartGateway) -> None:
    """A 429 that nobody could mend reaches the client with its Retry-After."""
    async with Upstream([rate_limited("77")]) as first, Upstream([rate_limited("88")]) as second:
        running = await gateway(llm_conf(endpoint(first, fallback=True), endpoint(second, fallback=True)))
        reply = await running.chat()
        assert reply.status == 429
        assert int(reply.header("retry-after") or 0) in range(70, 89)


async def test_cluster_without_endpoints_says_so(gateway: StartGateway) -> None:
    """No endpoint is 503, at once."""
    running = await gateway(llm_conf())
    reply = await running.chat()
    assert (reply.status, reply.json()["message"]) == (503, "Service unavailable")


async def test_every_try_is_recorded(gateway: StartGateway) -> None:
    """Endpoint, status, error kind and time of each attempt are in the access log."""
    closing = [(b"Connection", b"close")]
    async with Upstream([error(500, closing), actions.close()]) as bad, Upstream([chat("b")]) as good:
        running = await gateway(llm_conf(endpoint(bad, "a", retry=1, fallback=True), endpoint(good, "b")))
        await running.chat()
        attempts = (await running.wait_log())[0]["attempts"]
        assert [attempt["status"] for attempt in attempts] == [500, 0, 200]
        assert attempts[1]["error"] == "reset"
        assert [attempt["address"] for attempt in attempts] == [bad.address, bad.address, good.address]
        assert all(attempt["ms"] > 0 for attempt in attempts)


async def test_endpoint_that_does_not_serve_the_model_is_passed_over(gateway: StartGateway) -> None:
    """``models`` limits what an endpoint is asked, and names the model as the endpoint knows it."""
    async with Upstream([]) as first, Upstream([chat("b")]) as second:
        small, large = {"name": "small"}, {"name": "large", "upstream": "large-0613"}
        running = await gateway(
            llm_conf(endpoint(first, models=[small], fallback=True), endpoint(second, models=[large]))
        )
        assert (await running.chat(model="large")).status == 200
        assert second.request.json()["model"] == "large-0613"  # type: ignore[index]
