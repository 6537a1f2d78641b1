"""A plan is followed: the models in their order, the endpoints in theirs, the body as each attempt needs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson
import pytest

from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.config.model import ServedModel
from pixiu_py.filters.llm.plan import PLAN, Plan, plan_of
from pixiu_py.http.exchange import Exchange
from tests.fakes.bodies import chat, error
from tests.fakes.exchange import make_exchange
from tests.fakes.walk import COOLDOWN, Case

Make = Callable[..., Any]


def models(*names: str) -> list[ServedModel]:
    """What an endpoint serves."""
    return [ServedModel(name=name) for name in names]


async def walk(made: Case, exchange: Exchange) -> tuple[int, list[str]]:
    """One request: its status, and endpoint and model of each attempt."""
    response = await made.ask(exchange)
    await made.finish(exchange, response)
    return response.status, [f"{attempt.endpoint_id}:{attempt.model}" for attempt in exchange.attempts]


def planned(made: Case, *names: str, rank: Any = None, **document: Any) -> Exchange:
    """A request with a plan."""
    exchange = made.exchange("", **document)
    plan = plan_of(exchange)
    plan.models = names
    plan.rank = rank
    return exchange


def by_name(order: str) -> Callable[[Sequence[Endpoint]], Sequence[Endpoint]]:
    """Ranks endpoints as named; those that are not named are left out."""

    def rank(endpoints: Sequence[Endpoint]) -> Sequence[Endpoint]:
        known = {endpoint.id: endpoint for endpoint in endpoints}
        return [known[name] for name in order if name in known]

    return rank


async def test_models_are_walked_in_their_order(case: Make) -> None:
    """Each with the endpoints that serve it, and no model that is not in the list."""
    made = await case(error(500), error(503), chat("c"), models=[models("x"), models("x", "y"), models("z")])
    status, tried = await walk(made, planned(made, "y", "x", "z", model="other"))
    assert (status, tried) == (200, ["b:y", "a:x", "c:z"])
    assert orjson.loads(made.upstreams[2].requests[0].body)["model"] == "z"


async def test_the_list_ends_even_where_an_endpoint_serves_more(case: Make) -> None:
    """The last failure is the answer."""
    made = await case(error(500), error(429), chat("c"), models=[models("x"), models("y"), models("z")])
    assert await walk(made, planned(made, "x", "y", model="z")) == (429, ["a:x", "b:y"])


async def test_one_endpoint_may_be_asked_for_the_next_model(case: Make) -> None:
    """What failed for one model may serve another, although it rests."""
    made = await case([error(503), chat("ok")], models=[models("x", "y")])
    assert await walk(made, planned(made, "x", "y", model="x")) == (200, ["a:x", "a:y"])


async def test_model_that_has_to_wait_comes_last(case: Make) -> None:
    """While its endpoints cool down, those that can answer are asked."""
    made = await case([error(500), chat("a")], chat("b"), models=[models("x"), models("y")])
    assert await walk(made, planned(made, "x", "y", model="x")) == (200, ["a:x", "b:y"])
    assert await walk(made, planned(made, "x", "y", model="x")) == (200, ["b:y"])
    made.clock.now += COOLDOWN
    assert await walk(made, planned(made, "x", "y", model="x")) == (200, ["a:x"])


async def test_model_that_nobody_serves_is_passed_over(case: Make) -> None:
    """And when there is no other, the client is told."""
    made = await case(chat("a"), models=[models("x")])
    assert await walk(made, planned(made, "zzz", "x", model="x")) == (200, ["a:x"])
    assert (await walk(made, planned(made, "zzz", model="x")))[0] == 404


async def test_model_named_twice_is_tried_once(case: Make) -> None:
    made = await case([error(500), chat("late")], models=[models("x")])
    assert await walk(made, planned(made, "x", "x", model="x")) == (500, ["a:x"])


async def test_client_fault_ends_the_list(case: Make) -> None:
    """A 400 is the answer, whichever model is left."""
    made = await case(error(400), chat("b"), models=[models("x"), models("y")])
    assert await walk(made, planned(made, "x", "y", model="x")) == (400, ["a:x"])


async def test_endpoint_without_fallback_still_leaves_the_next_model(case: Make) -> None:
    """``fallback`` is about the endpoints of one model; the list of models is the client's own wish."""
    made = await case(error(500), chat("b"), fallback=False, models=[models("x"), models("y")])
    assert await walk(made, planned(made, "x", "y", model="x")) == (200, ["a:x", "b:y"])


@pytest.mark.parametrize("served", [None, models("x")])
async def test_model_is_put_in_byte_for_byte(case: Make, served: Any) -> None:
    """Whether or not endpoints say what they serve; big integers and order stay."""
    made = await case(chat("a"), models=[served or []])
    exchange = make_exchange("POST", "/v1/chat/completions", body=b'{"seed":%d, "model" : "auto","top_p":1.0}' % 10**30)
    exchange.cluster = made.cluster
    exchange.started = made.clock()
    plan_of(exchange).models = ("x",)
    await walk(made, exchange)
    assert made.upstreams[0].requests[0].body == b'{"seed":%d, "model" : "x","top_p":1.0}' % 10**30


async def test_model_is_put_in_where_none_is_named(case: Make) -> None:
    """A request that leaves the choice to the gateway gets the chosen one."""
    made = await case(error(500), chat("b"), models=[models("x"), models("y")])
    assert (await walk(made, planned(made, "x", "y", seed=1)))[0] == 200
    assert [upstream.requests[0].body for upstream in made.upstreams] == [
        b'{"model":"x","seed":1}',
        b'{"model":"y","seed":1}',
    ]


async def test_attempts_bound_the_list(case: Make) -> None:
    """Tries at the endpoints of one model count, too; those that its endpoints are due are made."""
    made = await case(error(500), chat("late"), models=[models("x"), models("y")], times=1)
    exchange = planned(made, "x", "y", model="x")
    plan_of(exchange).most_attempts = 2
    assert await walk(made, exchange) == (500, ["a:x", "a:x"])


async def test_time_bounds_the_list(case: Make) -> None:
    """No further model is turned to after it; before, every one is."""
    made = await case(error(500), chat("late"), models=[models("x"), models("y")])
    exchange = planned(made, "x", "y", model="x")
    exchange.started, plan_of(exchange).window = made.clock.now - 2, 2.0
    assert await walk(made, exchange) == (500, ["a:x"])
    made.clock.now += COOLDOWN
    exchange = planned(made, "x", "y", model="x")
    exchange.started, plan_of(exchange).window = made.clock.now - 2, 3.0
    assert await walk(made, exchange) == (200, ["a:x", "b:y"])


async def test_endpoints_are_tried_by_rank(case: Make) -> None:
    """Those that the ranking leaves out come last, in their usual order."""
    made = await case(error(500), error(500), error(500), error(500))
    status, tried = await walk(made, planned(made, rank=by_name("cb")))
    assert (status, [name[0] for name in tried]) == (500, ["c", "b", "d", "a"])


async def test_ranking_is_asked_again_after_a_failure(case: Make) -> None:
    """With what has not been tried."""
    asked: list[str] = []

    def rank(endpoints: Sequence[Endpoint]) -> Sequence[Endpoint]:
        asked.append("".join(endpoint.id for endpoint in endpoints))
        return endpoints[::-1]

    made = await case(chat("a"), error(500), error(500))
    assert (await walk(made, planned(made, rank=rank)))[1] == ["c:", "b:", "a:"]
    assert asked == ["abc", "ab", "a"]


async def test_ranking_without_an_opinion_leaves_it_to_the_balancer(case: Make) -> None:
    made = await case(chat("a"), chat("b"))
    tried = [(await walk(made, planned(made, rank=by_name(""))))[1] for _ in range(2)]
    assert tried == [["a:"], ["b:"]]


async def test_ranked_endpoint_that_cools_down_is_passed_over(case: Make) -> None:
    made = await case(chat("a"), [error(500), chat("b")])
    exchange = planned(made, rank=by_name("ba"))
    assert (await walk(made, exchange))[1] == ["b:", "a:"]
    assert (await walk(made, planned(made, rank=by_name("ba"))))[1] == ["a:"]


async def test_edits_are_made_for_each_attempt(case: Make) -> None:
    """In order, from the client's own body, after the model has been put in."""
    made = await case(error(500), chat("b"))
    exchange = planned(made, "x", model="auto")
    seen: list[tuple[bytes, str, str]] = []

    def first(body: bytes, endpoint: Endpoint, model: str) -> bytes:
        seen.append((body, endpoint.id, model))
        return body + b" "

    plan_of(exchange).edits += (first, lambda body, endpoint, model: body + endpoint.id.encode())
    await walk(made, exchange)
    assert [upstream.requests[0].body for upstream in made.upstreams] == [b'{"model":"x"} a', b'{"model":"x"} b']
    assert seen == [(b'{"model":"x"}', "a", "x"), (b'{"model":"x"}', "b", "x")]


def test_a_plan_that_others_share_is_not_changed() -> None:
    """Who wants to change it gets one of the request's own."""
    shared = Plan()
    shared.models, shared.shared = ("x",), True
    one, other = make_exchange(), make_exchange()
    one.params[PLAN] = other.params[PLAN] = shared
    plan_of(one).edits += (lambda body, endpoint, model: body,)
    assert plan_of(one) is plan_of(one)
    assert (plan_of(one).models, len(plan_of(one).edits)) == (("x",), 1)
    assert other.params[PLAN] is shared
    assert not shared.edits
