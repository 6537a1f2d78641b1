"""The filter puts models into the plan, and says afterwards who served."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import ANY

import orjson
import pytest
from multidict import CIMultiDict

from pixiu_py.filters.chain import FilterChain
from pixiu_py.filters.llm.plan import PLAN
from pixiu_py.filters.llm.router.filter import CHOICE, LlmRouter
from pixiu_py.http.exchange import Attempt, Exchange, Response
from pixiu_py.http.headers import Raw, encode
from pixiu_py.http.received import Received, received
from tests.fakes.clusters import endpoint_config, make_cluster
from tests.fakes.exchange import make_context, make_exchange
from tests.fakes.kinds import REGISTRY, decoded
from tests.fakes.router import CODE, started


async def pass_through(config: dict[str, Any], exchange: Exchange, **answer: Any) -> Exchange:
    """One exchange through a router with this config, answered by ``answer['by']`` if it is given."""
    async with started(config) as router:
        assert await router.decode(exchange) is None
        if "by" in answer:
            exchange.attempts.append(Attempt("e", "1.1.1.1:1", "main", 200, seconds=0.1, model=answer["by"]))
        exchange.response = Response(answer.get("status", 200))
        router.encode(exchange)
        router.done(exchange)
    return exchange


def models(exchange: Exchange) -> tuple[str, ...]:
    """What the plan says."""
    plan = exchange.params.get(PLAN)
    return () if plan is None else plan.models


def ask(text: str = "fix this code", path: str = "/v1/chat/completions", **body: Any) -> Exchange:
    """A chat request."""
    return make_exchange("POST", path, json={"messages": [{"role": "user", "content": text}], **body})


def test_the_sample_is_the_filters() -> None:
    """Its registered name."""
    entry = next(entry for entry in REGISTRY if entry.cls is LlmRouter)
    assert entry.kind == "dgp.filter.llm.router"
    assert decoded(entry, {}).max_models == 4


async def test_route_is_planned_and_told() -> None:
    """Its models in their order; the answer names the model that served and the route."""
    exchange = await pass_through(CODE, ask(model="x"), by="small")
    assert models(exchange) == ("big", "small")
    assert exchange.response is not None
    assert exchange.response.headers.get("x-pixiu-model") == "small"
    assert exchange.response.headers.get("x-pixiu-route-name") == "code"


async def test_no_route_leaves_the_request_its_model() -> None:
    """And the answer names no route."""
    exchange = await pass_through(CODE, ask("good morning", model="x"), by="x")
    assert models(exchange) == ("x",)
    assert exchange.response is not None
    assert exchange.response.headers.get("x-pixiu-model") == "x"
    assert exchange.response.headers.get("x-pixiu-route-name") is None


async def test_routes_of_the_request_go_no_further() -> None:
    """Whether they were heeded or not, and also where no model is put in."""
    own = [{"name": "code", "description": "", "models": ["tiny"]}]
    for config, extra in ((CODE, {"model": "x"}), ({}, {})):
        exchange = await pass_through(config, ask(**extra, routing_preferences=own, seed=1))
        body = await exchange.request.body.read(1000)
        for edit in exchange.params[PLAN].edits:
            body = edit(body, None, "m")
        assert orjson.loads(body) == {"messages": ANY, "seed": 1, **extra}
    (edit,) = (await pass_through({}, ask())).params[PLAN].edits
    assert edit(body, None, "m") is body


async def test_list_is_bounded() -> None:
    """By attempts, and by time from now on."""
    config = {**CODE, "max_attempts": 3, "fallback_window": "5s"}
    plan = (await pass_through(config, ask())).params[PLAN]
    assert (plan.most_attempts, plan.window) == (3, 5.0)
    plan = (await pass_through({**config, "fallback_window": 0}, ask())).params[PLAN]
    assert plan.window == 0.0


async def test_embeddings_only_have_their_alias_resolved() -> None:
    """There is no conversation to decide about."""
    config = {**CODE, "model_aliases": {"fast": {"target": "small"}}}
    assert models(await pass_through(config, ask(path="/v1/embeddings", model="fast"))) == ("small",)
    assert models(await pass_through(config, ask(path="/v1/embeddings", model="big"))) == ()


async def test_what_is_no_json_passes() -> None:
    """It is the endpoint's business, byte for byte."""
    for path in ("/v1/chat/completions", "/v1/audio/transcriptions"):
        exchange = make_exchange("POST", path, body=b"--form\r\n")
        assert models(await pass_through({**CODE, "model_aliases": {"a": {"target": "b"}}}, exchange)) == ()
    for body in (b"[1]", b"3", orjson.dumps("text")):
        assert models(await pass_through(CODE, make_exchange("POST", "/v1/chat/completions", body=body))) == ()


async def test_other_methods_pass() -> None:
    assert models(await pass_through(CODE, make_exchange("GET", "/v1/chat/completions"))) == ()


#: Whose endpoints serve every model.
CLUSTER = make_cluster(endpoint_config("a"))
PINNING = {**CODE, "routing": {"session_ttl_seconds": 60}}


async def turn(router: LlmRouter, head: Received, by: str, *added: Raw, text: str = "fix this code") -> Exchange:
    """A request with this head, answered by a model; what it changes is written. ``added``: by a filter before."""
    exchange = ask(text)
    exchange.cluster = CLUSTER
    exchange.request.headers = head.headers()
    for field in added:
        exchange.request.headers.append(field)
    assert await FilterChain([router]).decode(exchange) is None
    exchange.attempts.append(Attempt("e", "1.1.1.1:1", "main", 200, seconds=0.1, model=by))
    exchange.response = Response(200)
    router.encode(exchange)
    router.done(exchange)
    for _ in range(9):
        await asyncio.sleep(0)
    return exchange


def named(session: str) -> Received:
    """The head of a request, as one connection knows it."""
    fields = {"A": "1", "X-Model-Affinity": session}
    return received(tuple([(encode(name), encode(value)) for name, value in fields.items()]), CIMultiDict(fields))


async def test_requests_of_a_pinned_session_share_what_was_made_of_the_pin() -> None:
    """Until another model answers: that moves the pin, and changes nothing for the requests beside."""
    async with started(PINNING) as router:
        assert models(await turn(router, named("s"), "big")) == ("big", "small")
        second, third = [await turn(router, named("s"), "big") for _ in range(2)]
        assert second.params[PLAN] is third.params[PLAN]
        assert second.params[CHOICE] is third.params[CHOICE]
        moved = await turn(router, named("s"), "small")
        assert moved.params[CHOICE] is not third.params[CHOICE]
        assert third.params[CHOICE].models == ("big", "small")
        assert moved.response is not None
        assert moved.response.headers.get("x-pixiu-model") == "small"
        assert models(await turn(router, named("s"), "small")) == ("small", "big")


async def test_a_head_that_comes_again_leads_to_what_it_has_led_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as that is true: nothing of it goes on, it is counted, and a pin that moved meanwhile is heeded."""
    async with started(PINNING) as router:
        head = named("s")
        for _ in range(4):
            exchange = await turn(router, head, "big")
            assert models(exchange) == ("big", "small")
            assert list(exchange.request.headers) == [("A", "1")]
        with monkeypatch.context() as patch:
            patch.setattr(router.chooser, "choose", None)  # nothing is chosen any more
            assert models(await turn(router, head, "big")) == ("big", "small")
        counted = router.context.metrics.counter("pixiu_router_choices_total", "", ("route", "outcome")).series
        assert counted == {("code", "route"): 1, ("code", "pinned"): 4}
        await turn(router, named("s"), "small")
        exchange = await turn(router, head, "small")
        assert models(exchange) == ("small", "big")
        assert list(exchange.request.headers) == [("A", "1")]
        assert models(await turn(router, named("other"), "big")) == ("big", "small")


async def test_a_head_leads_to_nothing_once_its_session_is_over() -> None:
    context = make_context()
    async with started(PINNING, context) as router:
        head = named("s")
        for _ in range(3):
            await turn(router, head, "small")
        assert models(await turn(router, head, "small")) == ("small", "big")
        router.chooser._affinity._store._store._entries.clear()  # type: ignore[union-attr]
        assert models(await turn(router, head, "big")) == ("big", "small")


async def test_a_head_that_a_filter_has_added_to_leads_to_nothing_by_itself() -> None:
    """What is added may be the tenant: two tenants never share a session, whatever connection they come over."""
    routing = {**PINNING["routing"], "session_cache": {"type": "memory", "tenant_header": "x-tenant"}}
    async with started({**PINNING, "routing": routing}) as router:
        head = named("s")
        for _ in range(3):
            assert models(await turn(router, head, "small", (b"x-tenant", b"a")))[0] in ("big", "small")
        assert models(await turn(router, head, "small", (b"x-tenant", b"a"))) == ("small", "big")
        assert models(await turn(router, head, "big", (b"x-tenant", b"b"))) == ("big", "small")
        assert models(await turn(router, head, "big", (b"x-request-id", b"1"))) == ("big", "small")
        assert models(await turn(router, head, "small", (b"x-tenant", b"a"))) == ("small", "big")


async def test_a_conversation_without_a_name_is_found_by_its_words_each_time() -> None:
    """The same head brings another conversation."""
    async with started({**PINNING, "routing": {**PINNING["routing"], "implicit_sessions": True}}) as router:
        fields = {"A": "1"}
        head = received(tuple([(encode(name), encode(value)) for name, value in fields.items()]), CIMultiDict(fields))
        for _ in range(3):
            await turn(router, head, "small")
        assert models(await turn(router, head, "small")) == ("small", "big")
        assert models(await turn(router, head, "big", text="other code")) == ("big", "small")
