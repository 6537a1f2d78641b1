"""The fallback loop against scripted endpoints: who is tried, how often, what is held against them, and what is left over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from pixiu_py.config.model import ServedModel
from pixiu_py.config.types import Secret
from pixiu_py.errors import NoEndpoint, UpstreamTimeout
from tests.fakes import actions, bodies
from tests.fakes.actions import JSON, respond, stall
from tests.fakes.bodies import chat, error, rate_limited
from tests.fakes.exchange import collect, make_exchange
from tests.fakes.peer import start
from tests.fakes.upstream import Action, Script, refusing_port
from tests.fakes.walk import COOLDOWN

Make = Callable[..., Any]


# --- who is tried -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start_at", "times", "order"),
    [("a", 0, "abc"), ("b", 0, "bca"), ("c", 0, "cab"), ("b", 1, "bbccaa"), ("b", [0, 2, 1], "bbbcca")],
)
async def test_endpoints_are_tried_in_turn(case: Make, start_at: str, times: Any, order: str) -> None:
    """From the first on, wrapping round, each once as often as its policy says."""
    made = await case(error(500), error(502), error(503), times=times)
    status, tried = await made.walk(start_at)
    assert tried == order
    assert status == {"a": 500, "b": 502, "c": 503}[order[-1]]


async def test_first_good_answer_ends_the_walk(case: Make) -> None:
    """And makes up for what was before it."""
    made = await case([error(500), chat("a")], chat("b"), times=1)
    assert await made.walk() == (200, "aa")
    assert made.endpoint("a").cooldown.untroubled


async def test_without_a_preference_the_balancer_begins(case: Make) -> None:
    """An id that is not there is none."""
    made = await case(chat("a"), chat("b"))
    assert [(await made.walk(start_at))[1] for start_at in ("", "", "zzz", "")] == ["a", "b", "a", "b"]


async def test_endpoint_without_fallback_is_the_last(case: Make) -> None:
    """Whoever else there is."""
    made = await case(error(500), error(500), chat("c"), fallback=[True, False, True])
    assert await made.walk() == (500, "ab")


async def test_cooling_endpoints_are_passed_over(case: Make) -> None:
    """The preferred one too, until its time is up."""
    made = await case(error(500), error(500), chat("c"))
    assert await made.walk() == (200, "abc")
    assert await made.walk() == (200, "c")
    made.clock.now += COOLDOWN
    assert await made.walk() == (200, "abc")


async def test_when_all_cool_down_the_soonest_is_tried(case: Make) -> None:
    """Rather than answering 503 untried."""
    made = await case([error(500)], [chat("b")])
    for name in "ab":
        made.endpoint(name).cooldown.failed(made.clock(), "x")
        made.clock.now += 1
    assert await made.walk("b") == (500, "a")
    assert await made.walk("a") == (200, "b")


async def test_cluster_without_endpoints(case: Make) -> None:
    """The route says with which status."""
    made = await case()
    exchange = made.exchange()
    exchange.route = SimpleNamespace(status_without_endpoint=599)  # type: ignore[assignment]
    with pytest.raises(NoEndpoint) as caught:
        await made.ask(exchange)
    assert caught.value.status == 599


# --- what is tried again ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 404, 413, 422])
async def test_clients_own_fault_is_its_answer(case: Make, status: int) -> None:
    """At once; and the endpoint has shown that it works."""
    made = await case([error(500), error(status)], chat("b"), times=1)
    assert await made.walk() == (status, "aa")
    assert made.endpoint("a").cooldown.untroubled


@pytest.mark.parametrize("status", [401, 402, 403])
async def test_refused_credential_is_not_tried_again_there(case: Make, status: int) -> None:
    """The next endpoint has another; this one has failed, if the credential was its own."""
    made = await case(error(status), chat("b"), times=3, api_key=[Secret("ka"), None])
    assert await made.walk() == (200, "ab")
    assert made.endpoint("a").cooldown.failures == 1


async def test_refused_credential_of_the_client_is_held_against_nobody(case: Make) -> None:
    """Each endpoint has its say, and none cools down for the others' requests."""
    made = await case(error(401), error(403), times=3)
    assert await made.walk() == (403, "ab")
    assert [made.endpoint(name).cooldown.untroubled for name in "ab"] == [True, True]


@pytest.mark.parametrize(
    "how", [actions.close(), actions.reset(), actions.close(b"HTTP/1.1 2"), actions.raw(b"SSH-2.0\r\n\r\n")]
)
async def test_broken_connection_is_a_failure(case: Make, how: Action) -> None:
    """Tried again, then elsewhere."""
    made = await case(how, chat("b"), times=1)
    assert await made.walk() == (200, "aab")
    assert made.endpoint("a").cooldown.failures == 1


async def test_endpoint_that_refuses_connections(case: Make) -> None:
    """The records tell what went wrong with each try."""
    with refusing_port() as port:
        made = await case(port, chat("b"))
        exchange = made.exchange()
        response = await made.ask(exchange)
        await made.finish(exchange, response)
    assert [(a.endpoint_id, a.status, a.error, a.success) for a in exchange.attempts] == [
        ("a", 0, "connect_failed", False),
        ("b", 200, "", True),
    ]


async def test_silent_endpoint(case: Make) -> None:
    """The limit is the filter's."""
    made = await case(stall(), chat("b"), config={"first_byte_timeout": 0.02})
    assert await made.walk() == (200, "ab")


# --- 429 and Retry-After ----------------------------------------------------------------------------------------------


async def test_busy_endpoint_rests_and_has_not_failed(case: Make) -> None:
    """For as long as it asked; it needs no trial after that."""
    made = await case([rate_limited("5"), chat("a")], chat("b"), times=1)
    assert await made.walk() == (200, "ab")
    cooldown = made.endpoint("a").cooldown
    assert (cooldown.failures, cooldown.resting_until) == (0, made.clock() + 5)
    assert await made.walk() == (200, "b")
    made.clock.now += 5
    assert await made.walk() == (200, "a")


async def test_nobody_else_means_waiting(case: Make) -> None:
    """As long as Retry-After says, if that is not too long."""
    made = await case([rate_limited("0.05"), chat("a")], times=1)
    started = time.monotonic()
    assert await made.walk() == (200, "aa")
    assert time.monotonic() - started >= 0.045


async def test_too_long_a_wait_is_the_clients(case: Make) -> None:
    """Above the policy's cap no further try is made, and the client is told when to come back."""
    made = await case([rate_limited("5")], times=3, cap=4.0)
    exchange = made.exchange()
    response = await made.ask(exchange)
    assert (response.status, response.headers.get("retry-after"), len(exchange.attempts)) == (429, "5", 1)
    await made.finish(exchange, response)


async def test_endpoint_does_not_rest_for_ever(case: Make) -> None:
    """Whatever it asks for."""
    made = await case([rate_limited("999999")], chat("b"), config={"longest_rest": 60.0})
    await made.walk()
    assert made.endpoint("a").cooldown.resting_until == made.clock() + 60


async def test_failing_endpoint_may_ask_for_a_rest_too(case: Make) -> None:
    """Both clocks run: it has failed, and it knows when it will be back."""
    made = await case([error(503, [(b"Retry-After", b"30")])], chat("b"))
    assert await made.walk() == (200, "ab")
    cooldown = made.endpoint("a").cooldown
    assert (cooldown.failures, cooldown.ends()) == (1, made.clock() + 30)


# --- trials -----------------------------------------------------------------------------------------------------------


async def test_one_request_tries_an_endpoint_that_has_cooled_down(case: Make) -> None:
    """The others stay away until it is known how that ended."""
    go = asyncio.Event()
    made = await case([error(500), stall(go, chat("a"))], chat("b"))
    await made.walk()
    made.clock.now += COOLDOWN
    exchange = made.exchange()
    trial = start(made.ask(exchange))
    await made.upstreams[0].until_requests(2)
    other = made.exchange()
    await made.finish(other, await made.ask(other))
    assert [attempt.endpoint_id for attempt in other.attempts] == ["b"]
    go.set()
    await made.finish(exchange, await trial)
    assert made.endpoint("a").cooldown.untroubled


async def test_failed_trial_starts_a_new_cooldown(case: Make) -> None:
    """At once, whatever the threshold."""
    made = await case([error(500), error(500)], chat("b"))
    await made.walk()
    made.clock.now += COOLDOWN
    assert await made.walk() == (200, "ab")
    assert made.endpoint("a").cooldown.until == made.clock() + COOLDOWN


# --- a client that leaves ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "options"),
    [
        ([stall()], {}),
        ([rate_limited("20")], {"times": 1, "fallback": False}),
        ([actions.stream([asyncio.Event()])], {}),
        ([actions.raw(actions.head(500, [(b"Content-Length", b"9")]))], {}),
    ],
    ids=["head", "back-off", "first event", "failed body"],
)
async def test_client_that_leaves_leaves_nothing_behind(case: Make, script: Script, options: dict[str, Any]) -> None:
    """Wherever it hits: no call, nothing in flight, and the trial may be repeated by the next request."""
    made = await case(script, chat("b"), **options)
    made.endpoint("a").cooldown.failed(made.clock(), "x")
    made.clock.now += COOLDOWN
    exchange = made.exchange()
    task = start(made.ask(exchange))
    await made.upstreams[0].until_requests(1)
    await asyncio.sleep(0.02)  # until it waits; that nothing more happens has no event
    assert not task.done()
    task.cancel()
    await asyncio.wait((task,))
    made.proxy.done(exchange)
    endpoint = made.endpoint("a")
    assert (endpoint.in_flight, endpoint.cooldown.trial_until) == (0, 0.0)
    assert exchange.attempts[-1].error in ("cancelled", "status")
    pool = made.proxy.pools.get(endpoint)
    assert pool.busy == 0


async def test_client_may_leave_at_any_moment(case: Make) -> None:
    """At each turn of the loop, through a failure, a retry, a fallback and a stream: nothing is left of it."""
    made = await case(error(500), bodies.chat_sse("b"), times=1, health_check_interval=0)
    finished = turns = 0
    while finished < 3:
        exchange = made.exchange()
        task = start(made.whole(exchange))
        for _ in range(turns):
            await asyncio.sleep(0)
        finished += task.done()
        task.cancel()
        await asyncio.wait((task,))
        made.proxy.done(exchange)
        await asyncio.sleep(0)
        for endpoint in made.cluster.endpoints:
            assert (endpoint.in_flight, made.proxy.pools.get(endpoint).busy) == (0, 0), (
                f"{endpoint} after {turns} turns"
            )
        turns += 1
    assert turns > 10


async def test_endpoint_is_in_flight_until_the_last_byte(case: Make) -> None:
    """Balancers count on it."""
    made = await case(chat("a"))
    exchange = made.exchange()
    response = await made.ask(exchange)
    assert (made.endpoint("a").in_flight, exchange.endpoint) == (1, made.endpoint("a"))
    await made.finish(exchange, response)
    assert made.endpoint("a").in_flight == 0


# --- what is sent -----------------------------------------------------------------------------------------------------


async def test_each_endpoint_gets_its_own_request(case: Make) -> None:
    """Its key, its name for the model, and the same body otherwise."""
    models = [["m", ServedModel("big", "a-big")], ["big"], [ServedModel("big", "c/big")]]
    made = await case(error(500), error(500), chat("c"), models=models, api_key=[Secret("ka"), None, Secret("kc")])
    exchange = made.exchange(model="big", seed=9007199254740993)
    response = await made.ask(exchange)
    await made.finish(exchange, response)
    seen = [upstream.request for upstream in made.upstreams]
    assert [request.header("authorization") for request in seen] == [b"Bearer ka", b"Bearer mine", b"Bearer kc"]
    assert [request.json()["model"] for request in seen] == ["a-big", "big", "c/big"]
    assert {request.body.replace(b"a-big", b"big").replace(b"c/big", b"big") for request in seen} == {seen[1].body}
    assert [attempt.model for attempt in exchange.attempts] == ["big"] * 3


async def test_only_endpoints_of_the_model_are_tried(case: Make) -> None:
    """A name that none of them serves is not found."""
    made = await case(error(500), chat("b"), error(500), models=[["x"], ["y"], ["x"]])
    assert await made.walk("", model="x") == (500, "ac")
    exchange = made.exchange("", model="z")
    response = await made.ask(exchange)
    assert (response.status, exchange.attempts) == (404, [])


async def test_preference_counts_among_those_that_serve_the_model(case: Make) -> None:
    """And no further."""
    made = await case(chat("a"), chat("b"), models=[["x"], ["y"]])
    assert (await made.walk("b", model="x"))[1] == "a"


# --- the answer -------------------------------------------------------------------------------------------------------


async def test_total_failure_is_the_last_answer(case: Make) -> None:
    """Of an endpoint, if one answered at all; an SDK is told not to repeat what has been repeated."""
    with refusing_port() as port:
        made = await case([error(500, message="first")], [error(503, message="second")], port)
        exchange = made.exchange()
        response = await made.ask(exchange)
        body = await made.finish(exchange, response)
    assert (response.status, orjson.loads(body)["error"]["message"]) == (503, "second")
    assert response.headers.get("retry-after") == str(int(COOLDOWN))
    assert exchange.error is not None


async def test_total_failure_without_an_answer(case: Make) -> None:
    """The gateway's own words; no address in them."""
    with refusing_port() as port:
        made = await case(port, port)
        exchange = made.exchange()
        response = await made.ask(exchange)
    assert (response.status, response.headers.get("x-should-retry")) == (502, "false")
    assert b"127.0.0.1" not in response.body


@pytest.mark.parametrize("length", [b"1000", b"5"])
async def test_failed_answer_that_cannot_be_kept_leaves_its_status(case: Make, length: bytes) -> None:
    """Too long, or too slow."""
    slow = actions.raw(actions.head(500, [JSON, (b"Content-Length", length)]) + b"x" * (int(length) - 1))
    made = await case([slow], config={"failed_body_limit": 900, "failed_body_timeout": 0.03})
    exchange = made.exchange()
    response = await made.ask(exchange)
    assert orjson.loads(response.body) == {"status": 500, "message": "Internal server error"}


async def test_stream_that_begins_with_an_error_falls_back(case: Make) -> None:
    """While somebody else can be asked; it is a failure with the event's own status."""
    made = await case([bodies.error_sse()], [bodies.chat_sse("b")])
    exchange = made.exchange()
    response = await made.ask(exchange)
    assert await made.finish(exchange, response) == b"".join(bodies.chat_events("b"))
    assert [attempt.error for attempt in exchange.attempts] == ["stream_error", ""]
    assert made.endpoint("a").cooldown.failures == 1


async def test_stream_that_begins_with_the_clients_fault_is_the_answer(case: Make) -> None:
    """Another endpoint would say the same."""
    made = await case([bodies.error_sse("too long", 400)], chat("b"))
    exchange = made.exchange()
    body = await made.finish(exchange, await made.ask(exchange))
    assert b"too long" in body
    assert (len(exchange.attempts), made.endpoint("a").cooldown.failures) == (1, 0)


async def test_stream_error_without_anybody_left_is_made_a_status(case: Make) -> None:
    """The last endpoint is not looked at, those before it are: if it cannot be reached, their word is the last."""
    with refusing_port() as port:
        made = await case([bodies.error_sse("overloaded", 503)], port)
        exchange = made.exchange()
        response = await made.ask(exchange)
    assert (response.status, orjson.loads(response.body)["error"]["message"]) == (503, "overloaded")


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_stream_that_breaks_later_is_a_failure(case: Make, how: str) -> None:
    """Nothing can be tried again, but it is held against the endpoint; the client has an error event."""
    made = await case([bodies.cut_sse("a", how=how)], chat("b"))
    exchange = made.exchange()
    body = await made.finish(exchange, await made.ask(exchange))
    assert body.endswith(b"\n\n")
    assert b'"error"' in body
    assert (exchange.attempts[0].error, exchange.end_reason) == ("reset", "reset")
    assert made.endpoint("a").cooldown.failures == 1


# --- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", [stall(), rate_limited("9")], ids=["silence", "back-off"])
async def test_total_time_is_a_limit(case: Make, script: Action) -> None:
    """Over all tries and pauses."""
    made = await case(script, times=3, config={"timeout": 0.05})
    exchange = made.exchange()
    exchange.started = time.monotonic()
    with pytest.raises(UpstreamTimeout) as caught:
        await made.ask(exchange)
    assert caught.value.phase == "total"
    assert made.endpoint("a").in_flight == 0


async def test_total_time_covers_the_body(case: Make) -> None:
    """Of an answer that is no stream too."""
    slow = actions.raw(actions.head(200, [JSON, (b"Content-Length", b"9")]) + b"{")
    made = await case([slow], config={"timeout": 0.1})
    exchange = made.exchange()
    exchange.started = time.monotonic()
    response = await made.ask(exchange)
    with pytest.raises(UpstreamTimeout):
        await collect(response.body)


async def test_head_request_has_no_body(case: Make) -> None:
    """Neither does its answer."""
    made = await case(respond(200, body=b"12345"))
    exchange = make_exchange("HEAD", "/v1/models")
    exchange.cluster = made.cluster
    response = await made.ask(exchange)
    assert (response.body.length, made.upstreams[0].request.header("content-length")) == (5, None)
    response.body.abort()
    made.proxy.done(exchange)
