"""Requests go to the model that their words call for: through a whole gateway, by rules, by likeness and by a router model."""

from __future__ import annotations

from typing import Any

import anthropic
import openai
import orjson
import pytest

from pixiu_py.errors import ConfigError
from tests.conftest import StartGateway
from tests.fakes.actions import stall
from tests.fakes.bodies import chat, chat_sse, error, error_sse, rate_limited
from tests.fakes.conf import Block, conf, endpoint, http_filter, llm_conf
from tests.fakes.gateway import RunningGateway
from tests.fakes.sessions import ROUTER, mock_model
from tests.fakes.upstream import Upstream

CODE = {"name": "code", "description": "writing or fixing program code", "models": ["big", "small"]}
TALK = {"name": "talk", "description": "greetings and casual conversation", "models": ["small", "big"]}
RULES = {"type": "rules", "rules": [{"route": "code", "keywords": ["code"]}, {"route": "talk", "keywords": ["hello"]}]}


def router_conf(big: Any, small: Any, *, meta: Block | None = None, **router: Any) -> str:
    """A gateway with a router before two endpoints, one for each model."""
    block = {"routing_preferences": [CODE, TALK], **router}
    endpoints = [
        endpoint(big, "b", models=["big"], **(meta or {})),
        endpoint(small, "s", models=["small"], **(meta or {})),
    ]
    return llm_conf(*endpoints, filters=[http_filter(ROUTER, **block)])


def body(text: str, **more: Any) -> bytes:
    """A chat request that leaves the choice of the model to the gateway."""
    return orjson.dumps({"messages": [{"role": "user", "content": text}], **more})


async def ask(running: RunningGateway, content: bytes, path: str = "/v1/chat/completions") -> tuple[str, str]:
    """The model and the route that served a request."""
    reply = await running.request("POST", path, {"content-type": "application/json"}, content)
    assert reply.status == 200, reply.body
    return (reply.header("x-pixiu-model") or b"").decode(), (reply.header("x-pixiu-route-name") or b"").decode()


def answering(reply: str, **mock: Any) -> str:
    """A gateway that is a router model and always says the same."""
    return conf(filters=[http_filter("dgp.filter.llm.mock", models=["router"], reply_prefix=reply, tokens=1, **mock)])


# --- how it is decided ------------------------------------------------------------------------------------------------


async def test_by_rules(gateway: StartGateway) -> None:
    """And what no rule holds for goes to the model that it names, else to the default."""
    big, small = await gateway(mock_model("big")), await gateway(mock_model("small"))
    running = await gateway(router_conf(big.port, small.port, deciders=[RULES], default_model="small"))
    assert await ask(running, body("some code")) == ("big", "code")
    assert await ask(running, body("hello")) == ("small", "talk")
    assert await ask(running, body("weather")) == ("small", "")
    assert await ask(running, body("weather", model="big")) == ("big", "")


async def test_by_likeness(gateway: StartGateway) -> None:
    """Without a decider and without a router model the descriptions are compared."""
    big, small = await gateway(mock_model("big")), await gateway(mock_model("small"))
    running = await gateway(router_conf(big.port, small.port, default_model="small"))
    assert await ask(running, body("fix this program, please")) == ("big", "code")
    assert await ask(running, body("just a casual conversation")) == ("small", "talk")


@pytest.mark.parametrize("reply", ['{"route": ["code"]}', "{'route': 'code'}", '```json {"route": "code"} ```'])
async def test_by_a_router_model(gateway: StartGateway, reply: str) -> None:
    """However it spells its answer; rules before it spare it the call."""
    big, small, model = (
        await gateway(mock_model("big")),
        await gateway(mock_model("small")),
        await gateway(answering(reply)),
    )
    router = {"endpoint": f"{model.url}/v1", "model": "router"}
    running = await gateway(router_conf(big.port, small.port, router=router, deciders=[RULES]))
    assert await ask(running, body("anything")) == ("big", "code")
    assert len(await model.wait_log()) == 1
    assert await ask(running, body("hello")) == ("small", "talk")
    assert len(model.log_lines()) == 1


async def test_router_model_in_a_cluster_of_this_gateway(gateway: StartGateway) -> None:
    """It needs no listener of its own there."""
    big, small = await gateway(mock_model("big")), await gateway(mock_model("small"))
    model = await gateway(answering('{"route": ["talk"]}'))
    block = {"routing_preferences": [CODE, TALK], "router": {"cluster": "routers", "model": "router"}}
    routers = {"name": "routers", "endpoints": [endpoint(model.port, "r", models=["router"])]}
    endpoints = [endpoint(big.port, "b", models=["big"]), endpoint(small.port, "s", models=["small"])]
    running = await gateway(llm_conf(*endpoints, filters=[http_filter(ROUTER, **block)], clusters=[routers]))
    assert await ask(running, body("anything")) == ("small", "talk")


@pytest.mark.parametrize("fault", [error(500), chat("I would say code"), chat('{"route": "poems"}'), stall()])
async def test_router_model_that_fails_costs_no_request(gateway: StartGateway, fault: Any) -> None:
    """A status, nonsense, a route that there is not, silence: the requested model answers, and it is counted."""
    big, small = await gateway(mock_model("big")), await gateway(mock_model("small"))
    async with Upstream(fault) as model:
        router = {"endpoint": f"http://{model.address}/v1", "timeout": "50ms"}
        running = await gateway(router_conf(big.port, small.port, router=router))
        assert await ask(running, body("anything", model="small")) == ("small", "")
        assert len(model.requests) == 1


async def test_nothing_to_decide_is_no_call(gateway: StartGateway) -> None:
    """No message, no routes, another API: the router model hears nothing."""
    big, small = await gateway(mock_model("big")), await gateway(mock_model("small"))
    async with Upstream([]) as model:
        router = {"endpoint": f"http://{model.address}/v1"}
        running = await gateway(router_conf(big.port, small.port, router=router))
        for content in (body("x", model="big", routing_preferences=[]), orjson.dumps({"model": "big", "messages": []})):
            assert await ask(running, content) == ("big", "")
        reply = await running.request("POST", "/v1/embeddings", {}, orjson.dumps({"model": "big", "input": "x"}))
        assert reply.status == 200


# --- what goes upstream -----------------------------------------------------------------------------------------------


async def test_body_changes_where_it_must_and_nowhere_else(gateway: StartGateway) -> None:
    """The model is put in for each attempt, the client's own routes are taken out; every other byte is the client's."""
    async with Upstream(error(500)) as big, Upstream(chat("fine")) as small:
        running = await gateway(router_conf(big, small, deciders=[RULES]))
        routes = orjson.dumps([{**CODE, "models": ["big", "small"]}])
        content = (
            b'{ "seed":123456789012345678901234567890, "model" : "auto" ,"routing_preferences":%b,'
            b' "messages":[{"role":"user","content":"code \\u00e9"}],"x":{"model":1.0} }' % routes
        )
        assert await ask(running, content) == ("small", "code")
        gone = content.replace(b',"routing_preferences":%b' % routes, b"")
        assert big.request.body == gone.replace(b'"auto"', b'"big"')
        assert small.request.body == gone.replace(b'"auto"', b'"small"')


async def test_routes_of_a_request_are_its_own(gateway: StartGateway) -> None:
    """They stand in for those of the configuration, and may name any model that is served."""
    async with Upstream(chat("b")) as big, Upstream(chat("s")) as small:
        running = await gateway(router_conf(big, small, deciders=[RULES]))
        own = [{"name": "code", "description": "", "models": ["nobody's", "small"]}]
        assert await ask(running, body("code", routing_preferences=own)) == ("small", "code")
        assert b"routing_preferences" not in small.request.body


async def test_alias(gateway: StartGateway) -> None:
    """In a chat and where nothing is decided; the model behind it serves."""
    async with Upstream(chat("b")) as big, Upstream(chat("s")) as small:
        running = await gateway(router_conf(big, small, deciders=[RULES], model_aliases={"fast": {"target": "small"}}))
        assert await ask(running, body("weather", model="fast")) == ("small", "")
        reply = await running.request("POST", "/v1/embeddings", {}, b'{"input":"x","model":"fast"}')
        assert reply.status == 200
        assert small.requests[1].body == b'{"input":"x","model":"small"}'


async def test_endless_name_of_a_model_is_none(gateway: StartGateway) -> None:
    """It goes on as it came, and is neither told in the answer nor remembered: a client could make up any number of them."""
    content = body("weather", model="x" * 100_000)
    async with Upstream(chat("b")) as upstream:
        running = await gateway(llm_conf(endpoint(upstream), filters=[http_filter(ROUTER)]))
        assert await ask(running, content) == ("", "")
        assert upstream.requests[0].body == content
        picky = await gateway(router_conf(upstream, upstream, deciders=[RULES]))
        reply = await picky.request("POST", "/v1/chat/completions", {}, content)
        assert (reply.status, len(reply.body) < 1000) == (404, True)


# --- when a model fails -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [error(408), rate_limited("60"), error(500), error(503)])
async def test_next_model_of_the_route_answers(gateway: StartGateway, fault: Any) -> None:
    """And the answer says so."""
    async with Upstream(fault) as big, Upstream(chat("fine")) as small:
        running = await gateway(router_conf(big, small, deciders=[RULES]))
        assert await ask(running, body("code", model="big")) == ("small", "code")
        (line,) = await running.wait_log()
        assert [(attempt["model"], attempt["endpoint"]) for attempt in line["attempts"]] == [
            ("big", "b"),
            ("small", "s"),
        ]
        assert line["model"] == "small"


async def test_stream_that_begins_with_an_error_is_another_models(gateway: StartGateway) -> None:
    """Nothing has reached the client by then."""
    async with Upstream(error_sse()) as big, Upstream(chat_sse("fine")) as small:
        running = await gateway(router_conf(big, small, deciders=[RULES]))
        assert await ask(running, body("code", stream=True)) == ("small", "code")


async def test_fault_of_the_client_is_its_answer(gateway: StartGateway) -> None:
    """No other model is bothered; and a request without a route has no list to walk."""
    async with Upstream([error(400), error(500)]) as big, Upstream([]) as small:
        running = await gateway(router_conf(big, small, deciders=[RULES]))
        assert (await running.request("POST", "/v1/chat/completions", {}, body("code"))).status == 400
        assert (await running.request("POST", "/v1/chat/completions", {}, body("weather", model="big"))).status == 500


async def test_fastest_learns_from_the_traffic(gateway: StartGateway) -> None:
    """The model that has answered comes before one that is not known, whatever the declared order."""
    fastest = {**TALK, "models": ["big", "small"], "selection_policy": {"prefer": "fastest"}}
    async with Upstream(error(500)) as big, Upstream(chat("fine")) as small:
        running = await gateway(router_conf(big, small, deciders=[RULES], routing_preferences=[fastest]))
        for _ in range(2):
            assert await ask(running, body("hello")) == ("small", "talk")
        assert len(big.requests) == 1


# --- the other endpoints ----------------------------------------------------------------------------------------------


async def test_decision_alone(gateway: StartGateway) -> None:
    """In every API; nothing is sent upstream."""
    cheapest = {**CODE, "selection_policy": {"prefer": "cheapest"}}
    prices = {"big": {"input": 5, "output": 15}, "small": {"input": 0.1, "output": 0.4}}
    sources = [{"type": "cost", "provider": "static", "prices": prices}]
    async with Upstream([]) as nobody:
        running = await gateway(
            router_conf(nobody, nobody, deciders=[RULES], routing_preferences=[cheapest], model_metrics_sources=sources)
        )
        for path in ("chat/completions", "messages", "responses"):
            content = orjson.dumps(
                {"input" if path == "responses" else "messages": [{"role": "user", "content": "code"}]}
            )
            reply = await running.request("POST", f"/routing/v1/{path}", {}, content)
            assert orjson.loads(reply.body)["models"] == ["small", "big"]


async def test_sdks(gateway: StartGateway) -> None:
    """Both official SDKs: answers whole and streamed, the headers, the list of models."""
    big, small = await gateway(mock_model("big")), await gateway(mock_model("small"))
    aliases = {"fast": {"target": "small"}}
    running = await gateway(router_conf(big.port, small.port, deciders=[RULES], model_aliases=aliases))
    says: Any = [{"role": "user", "content": "some code"}]
    async with openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="k", max_retries=0) as client:
        raw = await client.chat.completions.with_raw_response.create(model="auto", messages=says)
        assert raw.headers["x-pixiu-model"] == raw.parse().model == "big"
        stream = await client.chat.completions.create(model="auto", messages=says, stream=True)
        assert {chunk.model async for chunk in stream} == {"big"}
        answer = await client.responses.create(model="fast", input="weather", extra_body={"routing_preferences": []})
        assert answer.model == "small"
        assert [model.id for model in (await client.models.list()).data] == ["big", "small", "fast"]
        assert (await client.models.retrieve("fast")).owned_by == "pixiu-py"
    async with anthropic.AsyncAnthropic(base_url=running.url, api_key="k", max_retries=0) as claude:
        message = await claude.messages.create(model="auto", max_tokens=9, messages=says)
        assert message.model == "big"
        async with claude.messages.stream(model="auto", max_tokens=9, messages=says) as events:
            assert (await events.get_final_message()).model == "big"
        assert [model.id async for model in await claude.models.list()] == ["big", "small", "fast"]


async def test_model_that_nobody_serves_stops_the_start(gateway: StartGateway) -> None:
    """With its place, and what is there instead."""
    with pytest.raises(ConfigError, match=r"models\[1\]: No endpoint serves the model 'bigg'; did you mean 'big'"):
        await gateway(router_conf(1, 2, routing_preferences=[{**CODE, "models": ["small", "bigg"]}]))
