"""Counts by the engine that serves: it is asked with the chat up to the mark, in the dialect that it speaks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
import pytest_asyncio

from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.config.types import Secret
from pixiu_py.filters.llm.promptcache.blocks import CHAT, MESSAGES, RESPONSES, Api, Breakpoint
from pixiu_py.filters.llm.promptcache.count import CountFailed
from pixiu_py.filters.llm.promptcache.engine import EngineCounter, chat_up_to
from tests.fakes.actions import respond
from tests.fakes.promptcache import chat, mark, prompt, system, text, user
from tests.fakes.recorded_engine import RecordedEngine
from tests.fakes.upstream import Action, Request, Upstream

CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}


@pytest_asyncio.fixture
async def counter() -> AsyncIterator[EngineCounter]:
    counter = EngineCounter("", 5.0)
    yield counter
    await counter.close()


def at(upstream: Upstream, **fields: Any) -> Endpoint:
    endpoint = Endpoint("main", "e", "127.0.0.1", upstream.port)
    for name, value in fields.items():
        setattr(endpoint, name, value)
    return endpoint


def asked(document: dict[str, Any], block: int, api: Api = CHAT) -> Any:
    return orjson.loads(chat_up_to(prompt(document, api), block, "engine-name").body)


async def test_a_real_vllm_counts_its_template_too(counter: EngineCounter) -> None:
    """As recorded: eight tokens for a message of one word, and no prompt for an answer among them."""
    document = chat({"role": "user", "content": "Hello"}, cache_control=mark())
    async with Upstream(recorded_without_strings) as engine:
        it = prompt(document)._replace(endpoint=at(engine, models={"m": "tiny"}))
        assert await counter.count("m", it, -1, 0, it.breakpoints) == [8]


def recorded_without_strings(request: Request) -> Action:
    """The recorded answer; the recording asked for the strings of the tokens besides."""
    recorded = RecordedEngine("vllm_tokenize").recorded["messages_no_generation_prompt"]
    question = {key: value for key, value in recorded["request"]["body"].items() if key != "return_token_strs"}
    assert orjson.loads(request.body) == question
    return respond(body=orjson.dumps(recorded["response"]["body"]))


async def test_a_real_llama_server_is_asked_for_its_template_first(counter: EngineCounter) -> None:
    rendered = RecordedEngine("llama_server").recorded["apply_template"]["response"]["body"]
    script = [respond(body=b'{"tokens":[]}'), respond(body=orjson.dumps(rendered)), respond(body=b'{"tokens":[1,2,3]}')]
    async with Upstream(script) as engine:
        it = prompt(chat(user(text("Hello", ""))))._replace(endpoint=at(engine))
        assert await counter.count("m", it, -1, 0, it.breakpoints) == [3]
        assert [request.target for request in engine.requests] == ["/tokenize", "/apply-template", "/tokenize"]


async def test_each_mark_behind_the_read_is_asked_for(counter: EngineCounter) -> None:
    """Counts never go down: a template may say less about a longer chat."""
    script = [respond(body=orjson.dumps({"tokens": [7] * count})) for count in (30, 20)]
    async with Upstream(script) as engine:
        it = prompt(chat(user(text("a", "")), user(text("b", "")), user(text("c", ""))))._replace(endpoint=at(engine))
        assert await counter.count("m", it, 0, 10, it.breakpoints[1:]) == [30, 30]
        assert [len(orjson.loads(request.body)["messages"]) for request in engine.requests] == [2, 3]


async def test_an_engine_is_given_its_own_key_and_no_other(counter: EngineCounter) -> None:
    async with Upstream(respond(body=b'{"tokens":[1]}')) as engine:
        it = prompt(chat(user(text("a", ""))))
        for fields in ({}, {"api_key": Secret("k")}, {"api_key": Secret("k"), "auth_header": "x-api-key"}):
            await counter.count("m", it._replace(endpoint=at(engine, **fields)), -1, 0, it.breakpoints)
        seen = [(request.header("authorization"), request.header("x-api-key")) for request in engine.requests]
    assert seen == [(None, None), (b"Bearer k", None), (None, b"k")]


async def test_another_engine_may_be_named() -> None:
    async with Upstream(respond(body=b'{"tokens":[1,2]}')) as engine:
        counter = EngineCounter(f"http://{engine.address}/", 5.0)
        it = prompt(chat(user(text("a", ""))))
        assert await counter.count("m", it, -1, 0, it.breakpoints) == [2]
        await counter.close()
        assert orjson.loads(engine.request.body)["model"] == "m"


@pytest.mark.parametrize("action", [respond(500), respond(body=b"{}"), respond(body=b'{"tokens":["a"]}')])
async def test_an_engine_that_does_not_count_is_a_failure(counter: EngineCounter, action: Action) -> None:
    async with Upstream(action) as engine:
        it = prompt(chat(user(text("a", ""))))._replace(endpoint=at(engine))
        with pytest.raises(CountFailed):
            await counter.count("m", it, -1, 0, it.breakpoints)


async def test_without_an_endpoint_nobody_can_be_asked(counter: EngineCounter) -> None:
    it = prompt(chat(user(text("a", ""))))
    with pytest.raises(CountFailed, match="no endpoint serves the model"):
        await counter.count("m", it, -1, 0, [Breakpoint(0, "5m")])
    assert await counter.version("m") == await counter.version("n")


# --- the chat up to a block ------------------------------------------------------------------------------------------


def test_up_to_the_end_of_a_message() -> None:
    document = chat(system(text("s", "")), {"role": "user", "content": "u"}, user(text("later")), tools=[TOOL])
    assert asked(document, 2) == {
        "model": "engine-name",
        "add_generation_prompt": False,
        "tools": [TOOL],
        "messages": [system(text("s")), {"role": "user", "content": "u"}],
    }


def test_up_to_the_middle_of_a_message() -> None:
    """What comes later in it is left out, its calls included."""
    message = {"role": "assistant", "content": [text("a", ""), text("b")], "tool_calls": [CALL, CALL]}
    assert asked(chat(message), 0)["messages"] == [{"role": "assistant", "content": [text("a")]}]
    assert asked(chat(message), 1)["messages"] == [{**message, "content": [text("a"), text("b")]}]
    assert asked(chat(message), 2)["messages"] == [{**message, "content": [text("a"), text("b")], "tool_calls": [CALL]}]


def test_tools_alone_are_a_text() -> None:
    request = chat_up_to(prompt(chat(user(text("a")), tools=[{**TOOL, "cache_control": mark()}])), 0, "n")
    assert request.text == orjson.dumps(TOOL).decode()


def test_other_apis_are_counted_as_a_chat_of_their_texts() -> None:
    document = {
        "system": [text("s")],
        "tools": [{"name": "f", "input_schema": {"type": "object"}, "cache_control": mark()}],
        "messages": [
            user(text("a"), text("b")),
            {"role": "assistant", "content": [{"type": "tool_use", "name": "f", "input": {}}]},
            user({"type": "image", "source": {}}, text("last", "")),
        ],
    }
    question = asked(document, 6, MESSAGES)
    assert question["tools"] == [
        {"type": "function", "function": {"name": "f", "description": "", "parameters": {"type": "object"}}}
    ]
    assert question["messages"] == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "ab"},
        {"role": "assistant", "content": '{"type":"tool_use","name":"f","input":{}}'},
        {"role": "user", "content": "last"},
    ]


def test_responses_are_counted_as_a_chat_of_their_texts() -> None:
    document = {"instructions": "s", "input": [user({"type": "input_text", "text": "a"}), {"type": "function_call"}]}
    assert asked(document, 2, RESPONSES)["messages"] == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "a"},
        {"role": "user", "content": '{"type":"function_call"}'},
    ]
