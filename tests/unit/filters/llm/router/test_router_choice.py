"""What is chosen: for routes of the configuration and of the request, aliases, and models that nobody serves."""

from __future__ import annotations

from typing import Any

import pytest

from pixiu_py.filters.llm.router.choice import Choice
from tests.fakes.clusters import endpoint_config, make_cluster
from tests.fakes.exchange import make_context, make_exchange
from tests.fakes.router import CODE, PREFERENCE, choose, started


async def chosen(
    config: dict[str, Any], text: str = "some code", serves: list[str] | None = None, **body: Any
) -> Choice:
    """The choice for one message, in a cluster that serves these models."""
    document = {"messages": [{"role": "user", "content": text}], **body}
    exchange = make_exchange("POST", "/v1/chat/completions", json=document)
    exchange.cluster = make_cluster(endpoint_config(models=serves or []))
    return await choose(config, exchange)


async def test_route_of_the_configuration() -> None:
    choice = await chosen(CODE, model="x")
    assert (choice.models, choice.route, choice.reason) == (("big", "small"), "code", "")


@pytest.mark.parametrize(
    ("config", "body", "reason"),
    [
        ({}, {}, "no_preferences"),
        (CODE, {"routing_preferences": []}, "no_preferences"),
        (CODE, {"messages": [{"role": "assistant", "content": "code"}]}, "no_messages"),
        (CODE, {"messages": [{"role": "user", "content": "hello"}]}, "no_match"),
    ],
)
async def test_without_a_route_the_requested_model_is_asked(
    config: dict[str, Any], body: dict[str, Any], reason: str
) -> None:
    """And it is known why there is none."""
    choice = await chosen({**config, "default_model": "small"}, **{"model": "x", **body})
    assert (choice.models, choice.route, choice.reason) == (("x",), None, reason)


async def test_default_stands_in_for_a_model_that_is_not_there() -> None:
    """Where none is named, or one that nobody serves. Without a default it is asked for as it is."""
    config = {"default_model": "small"}
    assert (await chosen(config)).models == ("small",)
    assert (await chosen(config, model="auto", serves=["small"])).models == ("small",)
    assert (await chosen(config, model="big", serves=["small", "big"])).models == ("big",)
    assert (await chosen({}, model="auto", serves=["small"])).models == ("auto",)
    assert (await chosen({})).models == ()
    assert (await chosen(config, model="x" * 257)).models == ("small",)
    assert (await chosen({}, model="x" * 257)).models == ()


async def test_aliases() -> None:
    """In requests, routes and the default; an alias wins over a model of the same name."""
    aliases = {"model_aliases": {"fast": {"target": "small"}, "big": {"target": "huge"}}}
    assert (await chosen(aliases, model="fast")).models == ("small",)
    assert (await chosen({**aliases, "default_model": "fast"})).models == ("small",)
    assert (await chosen({**CODE, **aliases})).models == ("huge", "small")


async def test_routes_of_a_request_stand_in_for_the_configurations() -> None:
    """All of them, for this request."""
    own = [{**PREFERENCE, "models": ["tiny"]}]
    assert (await chosen(CODE, routing_preferences=own)).models == ("tiny",)
    other = [{**PREFERENCE, "name": "poems"}]
    assert (await chosen(CODE, routing_preferences=other, model="x")).models == ("x",)


async def test_routes_that_cannot_be_read_leave_those_of_the_configuration() -> None:
    assert (await chosen(CODE, routing_preferences=[{"name": 3}])).models == ("big", "small")


async def test_list_is_bounded_and_without_repetition() -> None:
    """Each model once, and no more than so many."""
    config = {**CODE, "routing_preferences": [{**PREFERENCE, "models": ["a", "b", "a", "c"]}], "max_models": 2}
    assert (await chosen(config)).models == ("a", "b")


async def test_choices_are_counted() -> None:
    """By the routes of the configuration: names that clients make up are one."""
    context = make_context()
    async with started(CODE, context) as router:
        own = [{**PREFERENCE, "name": "code"}, {**PREFERENCE, "name": "made up"}]
        for text, more in (("code", {}), ("hi", {}), ("code", {"routing_preferences": own[:1]})):
            document = {"messages": [{"role": "user", "content": text}], **more}
            await router.chooser.choose(make_exchange("POST", "/v1/chat/completions", json=document))
    shown = context.metrics.render().decode()
    assert 'pixiu_router_choices_total{route="code",outcome="route"} 2' in shown
    assert 'pixiu_router_choices_total{route="",outcome="no_match"} 1' in shown
    rules = {"deciders": [{"type": "rules", "rules": [{"route": "made up"}]}]}
    context = make_context()
    async with started(rules, context) as router:
        document = {"messages": [{"role": "user", "content": "x"}], "routing_preferences": own}
        await router.chooser.choose(make_exchange("POST", "/v1/chat/completions", json=document))
    assert 'pixiu_router_choices_total{route="own",outcome="route"} 1' in context.metrics.render().decode()
