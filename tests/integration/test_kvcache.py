"""KV-cache routing through a whole gateway: prompts follow their prefix, and no fault of it reaches a client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import openai
import orjson
import pytest
import pytest_asyncio

from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.filters.ai.kvcache.index.base import KvIndex, Matches
from pixiu_py.filters.ai.kvcache.prompt import Prompt
from pixiu_py.registry import Family, plugin
from tests.conftest import StartGateway
from tests.fakes.actions import respond, stall
from tests.fakes.bodies import chat, chat_sse, error
from tests.fakes.conf import Block, endpoint, http_filter, llm_conf
from tests.fakes.gateway import RunningGateway
from tests.fakes.kv import text
from tests.fakes.upstream import Action, Request, Upstream, refusing_port

SYSTEM = {"role": "system", "content": text("You are a helpful assistant.", 3000)}
ROUTE = "x-pixiu-route"
CHAT = "/v1/chat/completions"


def user(content: str) -> Block:
    """A message."""
    return {"role": "user", "content": content}


def kvcache(*endpoints: Block, load: Block | None = None, **config: Any) -> str:
    """A gateway with the filter before these endpoints; it measures no load unless told how."""
    block = {"enabled": True, "load": load or {"interval": 0}, "route_header": "always", **config}
    return llm_conf(*endpoints, filters=[http_filter("dgp.filter.ai.kvcache", **block)])


async def ask(running: RunningGateway, *messages: Block, **more: Any) -> tuple[str, str]:
    """Who answered, and why that one."""
    body = orjson.dumps({"model": "m", "messages": messages, **more})
    reply = await running.request("POST", CHAT, {"Content-Type": "application/json"}, body)
    assert reply.status == 200, reply.body
    answer: Any = reply.json()
    return answer["choices"][0]["message"]["content"], (reply.header(ROUTE) or b"").decode()


@pytest_asyncio.fixture
async def fleet() -> AsyncIterator[list[Upstream]]:
    """Four engines that answer with their letter."""
    engines = [Upstream(chat(letter)) for letter in "abcd"]
    for engine in engines:
        await engine.__aenter__()
    yield engines
    for engine in engines:
        await engine.__aexit__(None, None, None)


def endpoints(fleet: Sequence[Upstream], **meta: Any) -> list[Block]:
    """The engines as endpoints, each falling back."""
    return [endpoint(engine, letter, fallback=True, **meta) for engine, letter in zip(fleet, "abcd", strict=False)]


# --- where prompts go ------------------------------------------------------------------------------------------------


async def test_a_conversation_stays_where_it_began(gateway: StartGateway, fleet: list[Upstream]) -> None:
    """Turn after turn, with other conversations in between; each has an engine of its own choice."""
    running = await gateway(kvcache(*endpoints(fleet)))
    talks: dict[str, list[Block]] = {name: [user(text(name, 2000))] for name in ("one", "two", "three", "four")}
    homes: dict[str, set[str]] = {name: set() for name in talks}
    for turn in range(4):
        for name, messages in talks.items():
            home, why = await ask(running, *messages)
            homes[name].add(home)
            assert f"result={'hit' if turn else 'miss'}" in why
            messages += [{"role": "assistant", "content": home}, user(text(f"{name} {turn}", 600))]
    assert all(len(home) == 1 for home in homes.values())
    assert len(set.union(*homes.values())) == 4


async def test_a_first_time_prompt_goes_to_its_longest_prefix(gateway: StartGateway, fleet: list[Upstream]) -> None:
    """Never seen word for word, but its system prompt and its document have been."""
    running = await gateway(kvcache(*endpoints(fleet)))
    await ask(running, SYSTEM, user("hello"))
    home, _ = await ask(running, SYSTEM, user(text("document", 3000) + " What is it about?"))
    for question in ("Who wrote it?", "When?"):
        assert (await ask(running, SYSTEM, user(text("document", 3000) + question)))[0] == home


async def test_a_hot_prefix_does_not_pile_up(gateway: StartGateway) -> None:
    """While its holder is busy with it, others take over: here nobody answers before all have been asked."""
    release = asyncio.Event()
    engines = [Upstream(stall(release, chat(letter))) for letter in "ab"]
    async with engines[0], engines[1]:
        running = await gateway(kvcache(*endpoints(engines), score={"in_flight_weight": 400}))
        async with asyncio.TaskGroup() as group:
            for number in range(8):
                group.create_task(ask(running, SYSTEM, user(f"question {number}")))
            for engine in engines:
                await engine.until_requests(3)
            release.set()


async def test_the_official_sdk_streams_from_the_right_engine(gateway: StartGateway) -> None:
    """The answer is untouched, chunk by chunk."""
    engines = [Upstream(chat_sse(letter)) for letter in "ab"]
    async with engines[0], engines[1]:
        running = await gateway(kvcache(*endpoints(engines)))
        client = openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="mine", max_retries=0, timeout=10)
        async with client:
            said = []
            for question in ("one", "two", "three"):
                stream = await client.chat.completions.create(
                    model="m",
                    messages=[SYSTEM, user(question)],  # type: ignore[list-item]
                    stream=True,
                )
                said.append("".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]))
        assert len(set(said)) == 1
        assert sorted(len(engine.requests) for engine in engines) == [0, 3]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/messages", {"system": SYSTEM["content"], "messages": [user("x")], "max_tokens": 5}),
        ("/v1/responses", {"instructions": SYSTEM["content"], "input": "x"}),
        ("/v1/completions", {"prompt": SYSTEM["content"]}),
    ],
)
async def test_every_api_is_routed(gateway: StartGateway, fleet: list[Upstream], path: str, body: Block) -> None:
    """The same prompt again goes to the same engine; its body arrives byte for byte."""
    running = await gateway(kvcache(*endpoints(fleet)))
    sent = orjson.dumps({"model": "m", **body})
    for _ in range(3):
        assert (await running.request("POST", path, {"Content-Type": "application/json"}, sent)).status == 200
    (asked,) = [engine for engine in fleet if engine.requests]
    assert [request.body for request in asked.requests] == [sent] * 3


# --- failures --------------------------------------------------------------------------------------------------------


async def test_the_next_best_answers_when_the_holder_fails(gateway: StartGateway) -> None:
    """The order after a failure is the score's again, not the configuration's."""
    failing: list[bool] = []

    def sometimes(letter: str) -> Callable[[Request], Action]:
        return lambda request: error(503) if letter in failing else chat(letter)

    engines = [Upstream(sometimes(letter)) for letter in "abc"]
    async with engines[0], engines[1], engines[2]:
        running = await gateway(kvcache(*endpoints(engines)))
        home, _ = await ask(running, SYSTEM, user(text("first", 2000)))
        failing.append(home)
        second, why = await ask(running, SYSTEM, user(text("first", 2000)))
        assert second != home
        assert f"choice={second}" in why
        failing.clear()
        again, _ = await ask(running, SYSTEM, user(text("first", 2000)))
        assert again in (home, second)


async def test_an_engine_that_is_gone_is_not_expected_to_hold_anything(
    gateway: StartGateway, fleet: list[Upstream]
) -> None:
    """Its prompts go elsewhere and stay there, also when it is back."""
    running = await gateway(kvcache(*endpoints(fleet[:2])))
    home, _ = await ask(running, SYSTEM, user("hello"))
    gone = fleet["ab".index(home)]
    await gone.stop_listening()
    for connection in gone.connections:
        connection.close()
    other, _ = await ask(running, SYSTEM, user("hello"))
    assert other != home
    await gone.listen()
    assert (await ask(running, SYSTEM, user("hello")))[0] == other


async def test_an_engine_that_rests_is_passed_over(gateway: StartGateway, fleet: list[Upstream]) -> None:
    """The balancer's rules for cooling endpoints hold for preferred ones, too."""
    answers = [chat("a"), error(500)]
    async with Upstream([*answers, chat("a")]) as first:
        blocks = [
            endpoint(first, "a", fallback=True, health_check_interval=60_000),
            endpoint(fleet[1], "b", fallback=True),
        ]
        running = await gateway(kvcache(*blocks, score={"cold": "balancer"}))
        prompt = [SYSTEM, user("hello")]
        said = [(await ask(running, *prompt))[0] for _ in range(4)]
        assert said == ["a", "b", "b", "b"]


# --- spilling --------------------------------------------------------------------------------------------------------


def metrics(waiting: int) -> bytes:
    """What an engine tells of itself."""
    return (f'vllm:num_requests_running{{engine="0"}} 8\nvllm:num_requests_waiting{{engine="0"}} {waiting}\n').encode()


async def test_traffic_spills_when_the_pool_is_saturated(gateway: StartGateway) -> None:
    """As long as an engine of the pool has room the hosted provider gets nothing; then it gets what is new."""
    waiting = [0]

    def engine(letter: str) -> Callable[[Request], Action]:
        return lambda request: respond(body=metrics(waiting[0])) if request.target == "/metrics" else chat(letter)

    async with Upstream(engine("a")) as a, Upstream(engine("b")) as b, Upstream(chat("hosted")) as hosted:
        blocks = [*endpoints([a, b]), endpoint(hosted, "hosted", fallback=True, provider="hosted")]
        running = await gateway(
            kvcache(*blocks, load={"interval": "10ms"}, spill={"endpoints": ["hosted"], "waiting": 4})
        )
        for number in range(6):
            assert (await ask(running, user(text(f"prompt {number}", 1000))))[0] in "ab"
        waiting[0] = 4
        seen = len(a.requests) + len(b.requests)
        for engine_ in (a, b):
            await engine_.until(lambda one: len(one.requests) > seen)
        answer, why = await ask(running, user(text("prompt 0", 1000)))
        assert answer == "hosted"
        assert "choice=hosted" in why
        assert not [request for request in hosted.requests if request.target == "/metrics"]


# --- faults ----------------------------------------------------------------------------------------------------------


@plugin(Family.KV_INDEX, "test.hanging")
class Hanging(KvIndex):
    """Never answers."""

    async def lookup(self, prompt: Prompt, endpoints: Sequence[Endpoint]) -> Matches:
        """Wait for nothing."""
        await asyncio.Event().wait()
        return {}


@plugin(Family.KV_INDEX, "test.broken")
class Broken(KvIndex):
    """Has a bug."""

    def lookup(self, prompt: Prompt, endpoints: Sequence[Endpoint]) -> Matches:
        """Raise."""
        raise KeyError("oops")


@pytest.mark.parametrize(("kind", "result"), [(Hanging, "timeout"), (Broken, "error")])
async def test_a_fault_of_the_index_is_ordinary_balancing(
    gateway: StartGateway, fleet: list[Upstream], kind: type[KvIndex], result: str
) -> None:
    """All requests succeed, and the balancer's turns are kept."""
    name = {Hanging: "test.hanging", Broken: "test.broken"}[kind]
    config = kvcache(*endpoints(fleet), index={"type": name}, lookup_routing_timeout="1ms")
    running = await gateway(config, kind)
    answers = [await ask(running, SYSTEM) for _ in range(8)]
    assert sorted(answer for answer, _ in answers) == sorted("abcd" * 2)
    assert all(f"result={result}" in why for _, why in answers)


@pytest.mark.parametrize(
    "body", [b"no json", b"[]", b'{"messages": 5}', b'{"messages": [[[[]]]]}', b'{"input": "x"}', b""]
)
async def test_odd_bodies_reach_the_endpoint_untouched(
    gateway: StartGateway, fleet: list[Upstream], body: bytes
) -> None:
    """What is wrong with them the endpoint says."""
    running = await gateway(kvcache(*endpoints(fleet)))
    reply = await running.request("POST", "/v1/embeddings", {"Content-Type": "application/json"}, body)
    assert reply.status == 200
    assert [request.body for engine in fleet for request in engine.requests] == [body]


async def test_pixius_configuration_answers_though_nobody_else_does(
    gateway: StartGateway, fleet: list[Upstream]
) -> None:
    """Its tokenizer and its controller refuse every call; the requests succeed."""
    with refusing_port() as nobody:
        config = {
            "vllm_endpoint": f"http://127.0.0.1:{nobody}",
            "lmcache_endpoint": f"http://127.0.0.1:{nobody}",
            "token_cache": {"enabled": True, "max_size": 1024, "ttl": "10m"},
        }
        running = await gateway(kvcache(*endpoints(fleet), **config))
        assert len([await ask(running, SYSTEM, user("x")) for _ in range(8)]) == 8


# --- why -------------------------------------------------------------------------------------------------------------


async def test_the_reason_is_told_on_demand_only(gateway: StartGateway, fleet: list[Upstream]) -> None:
    """By default nobody learns the names of endpoints; with ``asked`` who asks does."""
    for mode, expected in (("never", [False, False]), ("asked", [False, True])):
        running = await gateway(kvcache(*endpoints(fleet[:2]), route_header=mode))
        replies = [await running.chat(), await running.chat(headers={"x-pixiu-route": "1"})]
        assert [reply.header(ROUTE) is not None for reply in replies] == expected


async def test_a_debug_line_tells_why(
    gateway: StartGateway, fleet: list[Upstream], capsys: pytest.CaptureFixture[str]
) -> None:
    """Index, matched tokens and load per endpoint, choice."""
    running = await gateway(kvcache(*endpoints(fleet[:2])))
    for _ in range(2):
        await ask(running, SYSTEM, user("hello"))
    written = capsys.readouterr().out
    assert "result=hit" in written
    assert "matched=640" in written
