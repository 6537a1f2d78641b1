"""Tokens of prompts: from the cache, from an engine that answers, and under keys that cannot be mistaken."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.config.types import Secret
from pixiu_py.filters.ai.kvcache.calls import Tries, limits
from pixiu_py.filters.ai.kvcache.prompt import Prompt
from pixiu_py.filters.ai.kvcache.tokens import TokenSource, key_of, salt_of, tokenizer_calls
from pixiu_py.observability.metrics import Counter
from pixiu_py.stores.cache import BoundedMemoryCache
from pixiu_py.tasks import Tasks
from pixiu_py.upstream.client import CallFailed, Client
from tests.fakes.actions import stall
from tests.fakes.client import PATIENCE
from tests.fakes.kv import prompt
from tests.fakes.lmcache import FakeVllm, tokens_of
from tests.fakes.upstream import Upstream, refusing_port

CHAT: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "one two three"}]}


class Clock:
    """A clock that stands still."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def source(
    client: Client, cache: BoundedMemoryCache | None = None, tokenizer: str = "", timeout: float = PATIENCE
) -> TokenSource:
    """Tokens with a breaker that opens at the first failure."""
    calls = Counter("calls", "", ("call", "result"))
    seen = Counter("seen", "", ("result",))
    return TokenSource(
        client, cache, lambda: tokenizer_calls(limits(1, 10.0, 1), Tries(), Clock(), calls), timeout, seen, tokenizer
    )


def at(where: Upstream | int, name: str = "a", **models: str) -> Endpoint:
    """An endpoint."""
    endpoint = Endpoint("main", name, "127.0.0.1", where if isinstance(where, int) else where.port)
    endpoint.models = models
    return endpoint


async def test_the_cache_saves_a_call(client: Client) -> None:
    """For the same prompt, however it is to be answered."""
    cache = BoundedMemoryCache(10)
    async with FakeVllm("a") as engine:
        tokens = source(client, cache)
        for others in ({}, {"stream": True, "temperature": 0.5}):
            found = await tokens.tokens(prompt({**CHAT, **others}), [at(engine)])
            assert list(found or ()) == tokens_of(CHAT)
        assert len(engine.requests) == 1
        await source(client).tokens(prompt(CHAT), [at(engine)])
        assert len(engine.requests) == 2, "without a cache each prompt is asked for"


async def test_a_prompt_keeps_its_tokens(client: Client) -> None:
    """What comes after routing needs no second call."""
    async with FakeVllm("a") as engine:
        asked = prompt(CHAT)
        await source(client).tokens(asked, [at(engine)])
        await source(client).tokens(asked, [])
    assert asked.length == len(tokens_of(CHAT))


async def test_another_engine_is_asked_when_one_is_gone(client: Client) -> None:
    """At once, and the one that is gone is not asked first again."""
    with refusing_port() as port:
        async with FakeVllm("b") as engine:
            tokens = source(client)
            for _ in range(4):
                assert await tokens.tokens(prompt(CHAT), [at(port), at(engine, "b")])
            assert len(engine.requests) == 4
            with pytest.raises(CallFailed, match="connect"):
                await source(client).tokens(prompt(CHAT), [at(port)])


async def test_an_engine_that_answers_is_believed(client: Client) -> None:
    """A prompt that one refuses the next would refuse as well; its breaker stays closed."""
    async with FakeVllm("a") as engine, FakeVllm("b") as other:
        tokens = source(client)
        for _ in range(2):
            with pytest.raises(CallFailed, match="404"):
                await tokens.tokens(prompt({**CHAT, "model": "unknown"}), [at(engine), at(other, "b")])
        assert len(engine.requests) + len(other.requests) == 2


async def test_hosted_providers_are_not_asked(client: Client) -> None:
    """The prompt goes where it was configured to go, and nowhere else."""
    hosted = at(443)
    hosted.provider = "openai"
    with pytest.raises(CallFailed, match="no endpoint has a tokenizer"):
        await source(client).tokens(prompt(CHAT), [hosted])


async def test_one_tokenizer_for_all(client: Client) -> None:
    """Under the engines' own name for the model, with no endpoint's key."""
    async with FakeVllm("t") as engine:
        keyed = at(1, alias="tiny")
        keyed.api_key = Secret("k")
        tokens = source(client, tokenizer=f" http://{engine.address}/ ")
        assert await tokens.tokens(prompt({**CHAT, "model": "alias"}), [keyed])
        assert orjson.loads(engine.request.body)["model"] == "tiny"
        assert engine.request.header("authorization") is None


async def test_what_cannot_be_tokenized(client: Client) -> None:
    """Nobody is asked."""
    assert await source(client).tokens(prompt({"prompt": ["a", "b"]}), [at(1)]) is None


# --- keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"model": "other"},
        {"messages": [{"role": "system", "content": "one two three"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "one two three"}]}]},
        {"messages": [{"role": "user", "content": "one two"}, {"role": "user", "content": "three"}]},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"chat_template_kwargs": {"enable_thinking": False}},
        {"add_generation_prompt": False},
        {"something_new": 1},
    ],
)
def test_what_a_template_can_see_makes_another_key(change: dict[str, Any]) -> None:
    """Roles, tools, content parts: joined contents would be equal."""
    changed = {**CHAT, **change}
    assert key_of(changed, changed["model"]) != key_of(CHAT, "tiny")


@pytest.mark.parametrize("field", ["stream", "temperature", "max_tokens", "n", "seed", "user", "stream_options"])
def test_how_to_answer_makes_no_other_key(field: str) -> None:
    """A retry with another temperature has the same tokens."""
    assert key_of({**CHAT, field: 1}, "tiny") == key_of(CHAT, "tiny")


def test_what_is_nested_too_deeply_to_be_written_has_a_key_too() -> None:
    """It could be read, so it can come."""
    deep: list[Any] = [orjson.loads(b"[" * 500 + b"%d" % number + b"]" * 500) for number in (1, 2)]
    first, again, other = (key_of({**CHAT, "tools": tools}, "tiny") for tools in (deep[0], deep[0], deep[1]))
    assert first == again != other


def test_the_model_that_is_asked_counts() -> None:
    """Not the one that the body names: a router may have chosen another."""
    assert key_of(CHAT, "tiny") != key_of(CHAT, "large")
    assert key_of({**CHAT, "model": "x"}, "tiny") == key_of(CHAT, "tiny")


@given(st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=4), st.text(max_size=4))
def test_fields_cannot_run_into_each_other(document: dict[str, str], model: str) -> None:
    """Each has its length in front: moving a character from one to the next is another key."""
    kept = {name: value for name, value in document.items() if name != "model"}
    for name in kept:
        if name and kept[name] and not {name, name[:-1]} & {"n", "user", "stop", "seed", "min_p"}:
            moved = {**kept}
            value = moved.pop(name)
            moved[name[:-1]] = name[-1] + value
            if moved != kept:
                assert key_of(moved, model) != key_of(kept, model)


def test_salts() -> None:
    """What keeps a client's cache apart."""
    assert salt_of(Prompt("m", "/", b"", {"cache_salt": "s"})) == "s"
    assert salt_of(Prompt("m", "/", b"", {"cache_salt": 1})) == ""
    assert salt_of(Prompt("m", "/", b"", {})) == ""


async def test_equal_prompts_at_once_are_one_call(client: Client) -> None:
    """One who goes away takes nothing from the others; a failure is everybody's, and is not kept."""
    async with Upstream([stall()]) as engine:
        tokens, tasks = source(client, timeout=0.5), Tasks("test")
        waiters = [tasks.spawn(tokens.tokens(prompt(CHAT), [at(engine)]), "wait") for _ in range(5)]
        await engine.until_requests(1)
        waiters.pop().cancel()
        failures = await asyncio.gather(*waiters, return_exceptions=True)
        assert [getattr(failure, "kind", failure) for failure in failures] == ["timeout"] * 4
        assert len(engine.requests) == 1
    async with FakeVllm("a") as engine_again:
        assert await tokens.tokens(prompt(CHAT), [at(engine_again)])
    await tokens.close()


async def test_question_ends_with_the_last_who_waits(client: Client) -> None:
    """Nobody is asked for nobody, and the next one asks anew."""
    async with Upstream([stall(), stall()]) as engine:
        tokens, tasks = source(client), Tasks("test")
        for number in (1, 2):
            waiter = tasks.spawn(tokens.tokens(prompt(CHAT), [at(engine)]), "wait")
            await engine.until_requests(number)
            waiter.cancel()
            await asyncio.gather(waiter, return_exceptions=True)
    await tokens.close()
