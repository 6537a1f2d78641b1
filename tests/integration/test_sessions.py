"""Conversations stay on their model: the acceptance sequences, in every API, whole and streamed, over both stores."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from typing import Any

import openai
import orjson
import pytest
import pytest_asyncio

from pixiu_py.config.types import Secret
from pixiu_py.filters.llm.router.decider import Decider
from pixiu_py.registry import Family, plugin
from pixiu_py.stores.base import Store
from pixiu_py.stores.redis import RedisConfig, RedisStore
from tests.conftest import StartGateway
from tests.fakes.actions import stall
from tests.fakes.bodies import chat, chat_sse, error
from tests.fakes.client import request
from tests.fakes.conf import Block
from tests.fakes.gateway import RunningGateway
from tests.fakes.services import Service
from tests.fakes.sessions import AFFINITY, make_decider, mock_model, router_conf, says, shared
from tests.fakes.upstream import Upstream, refusing_port

APIS = ["chat", "messages", "responses"]


PRICES = {
    "type": "cost",
    "provider": "static",
    "prices": {"big": {"input": 3, "output": 9, "cache_read": 0.3}, "small": {"input": 5, "output": 9, "cache_read": 0.5}},
}  # fmt: skip


class Talk:
    """A gateway with sessions, before two models that speak every API."""

    def __init__(self, gateway: StartGateway) -> None:
        self._start = gateway
        self.decider: type[Decider] = make_decider()
        self._models: tuple[int, int] | None = None

    async def gateway(self, **routing: Any) -> RunningGateway:
        """One more gateway before the same models."""
        if self._models is None:
            big, small = await self._start(mock_model("big")), await self._start(mock_model("small"))
            self._models = big.port, small.port
        return await self._start(router_conf(*self._models, routing), self.decider)

    @property
    def decisions(self) -> int:
        """How often the decider has been asked since the last time."""
        asked: int = self.decider.asked  # type: ignore[attr-defined]
        self.decider.asked = 0  # type: ignore[attr-defined]
        return asked


@pytest.fixture
def talk(gateway: StartGateway) -> Talk:
    """Makes gateways."""
    return Talk(gateway)


async def ask(
    running: RunningGateway, text: str, id_: str = "s1", api: str = "chat", *, tenant: str = "", **more: Any
) -> str:
    """The model that served one request, which must be a good and whole answer of it."""
    path, body = says(api, text, **more)
    headers = {"content-type": "application/json"}
    if id_:
        headers[AFFINITY] = id_
    if tenant:
        headers["x-tenant"] = tenant
    reply = await running.request("POST", path, headers, orjson.dumps(body))
    assert reply.status == 200, reply.body
    assert reply.complete
    model = reply.header("x-pixiu-model")
    assert model == reply.header("x-mock-endpoint") is not None
    return model.decode()


# --- the reference's acceptance sequences -----------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("api", APIS)
async def test_first_answer_pins(talk: Talk, cache: Block, api: str, stream: bool) -> None:
    """Sequences 1 to 3: without an id everything is decided; with one the first request is, and the others follow it."""
    running = await talk.gateway(session_cache=cache)
    for text, model in (("code", "big"), ("talk", "small"), ("code", "big")):
        assert await ask(running, text, "", api, stream=stream) == model
    assert talk.decisions == 3
    assert await ask(running, "code", api=api, stream=stream) == "big"
    assert talk.decisions == 1
    for text in ("talk", "code", "talk"):
        assert await ask(running, text, api=api, stream=stream) == "big"
    assert talk.decisions == 0
    assert await ask(running, "talk", "s2", api, stream=stream) == "small"
    assert talk.decisions == 1


async def test_routes_of_a_request_have_no_effect_on_a_pin(talk: Talk, cache: Block) -> None:
    """Sequence 10: what is pinned is not decided, and the client's routes go no further all the same."""
    running = await talk.gateway(session_cache=cache)
    assert await ask(running, "code") == "big"
    path, body = says("chat", "mine")
    body["routing_preferences"] = [{"name": "mine", "description": "", "models": ["small"]}]
    reply = await running.request("POST", path, {AFFINITY: "s1"}, orjson.dumps(body))
    assert reply.header("x-pixiu-model") == b"big"
    assert talk.decisions == 1


async def test_tenants_do_not_share_a_session(talk: Talk, cache: Block) -> None:
    """Sequence 5: one id under two tenants, and under none; and ids that hold separators."""
    running = await talk.gateway(session_cache=cache)
    assert await ask(running, "code", tenant="a") == "big"
    assert await ask(running, "talk", tenant="b") == "small"
    assert await ask(running, "talk") == "small"
    assert await ask(running, "code", "b:c", tenant="a") == "big"
    assert await ask(running, "talk", "c", tenant="a:b") == "small"
    assert talk.decisions == 5
    assert [await ask(running, "x", tenant=tenant) for tenant in ("a", "b", "")] == ["big", "small", "small"]
    assert await ask(running, "x", "b:c", tenant="a") == "big"
    assert await ask(running, "x", "c", tenant="a:b") == "small"
    assert talk.decisions == 0


async def test_pin_ends_with_its_time(talk: Talk, cache: Block) -> None:
    """Sequence 6: reads in between do not extend it, and the new choice is kept."""
    running = await talk.gateway(session_cache=cache, session_ttl_seconds=1)
    assert await ask(running, "code") == "big"
    async with asyncio.timeout(10):
        while await ask(running, "talk") == "big":
            await asyncio.sleep(0.05)
    assert talk.decisions == 2
    assert await ask(running, "code") == "small"


async def test_no_life_is_no_pin(talk: Talk, cache: Block) -> None:
    """Sequence 7: with a time to live of 0 both stores remember nothing."""
    running = await talk.gateway(session_cache=cache, session_ttl_seconds=0)
    assert [await ask(running, text) for text in ("code", "talk", "code")] == ["big", "small", "big"]


async def test_session_unused_longest_makes_room(talk: Talk) -> None:
    """Sequence 7: at capacity the third new one evicts the first; one that is known evicts nobody."""
    running = await talk.gateway(session_max_entries=2)
    for id_ in ("a", "b", "a", "b"):
        assert await ask(running, "code", id_) == "big"
    assert await ask(running, "code", "c") == "big"
    assert [await ask(running, "talk", id_) for id_ in ("b", "c")] == ["big", "big"]
    assert await ask(running, "talk", "a") == "small"


async def test_no_route_is_no_pin(talk: Talk, cache: Block) -> None:
    """Sequence 9: a greeting does not tie a conversation to the default model, nor to one that is called none."""
    running = await talk.gateway(session_cache=cache)
    assert await ask(running, "hello") == "small"
    assert await ask(running, "code") == "big"
    assert await ask(running, "hello") == "big"
    assert talk.decisions == 2


async def test_long_ids_and_any_bytes_are_ids(talk: Talk, cache: Block) -> None:
    """Their size costs the store nothing; two that differ at the end are two."""
    running = await talk.gateway(session_cache=cache)
    long, odd = "i" * 4000, "\xfc|{}%0a"
    assert await ask(running, "code", long) == "big"
    assert await ask(running, "talk", long + "j") == "small"
    assert await ask(running, "code", odd) == "big"
    assert [await ask(running, "x", id_) for id_ in (long, long + "j", odd)] == ["big", "small", "big"]


# --- after success only ----------------------------------------------------------------------------------------------


async def test_pin_moves_when_its_model_fails(gateway: StartGateway, cache: Block) -> None:
    """To the one that served instead; it does not move back when the other could answer again. Streams alike."""
    big_script = [chat("big"), error(503), chat_sse("big")]
    async with Upstream(big_script) as big, Upstream([chat("small"), chat_sse("small")]) as small:
        running = await gateway(router_conf(big, small, {"session_cache": cache}), make_decider())
        assert await served(running, "code") == "big"
        assert await served(running, "code") == "small"
        assert await served(running, "code", stream=True) == "small"
        assert len(big.requests) == 2


async def test_model_that_broke_off_before_it_said_anything_is_not_pinned(gateway: StartGateway, cache: Block) -> None:
    """The first request already may be served by another one: that is the session's model."""
    with refusing_port() as nobody:
        async with Upstream([chat_sse("small"), chat("small")]) as small:
            running = await gateway(router_conf(nobody, small, {"session_cache": cache}), make_decider())
            assert await served(running, "code", stream=True) == "small"
            assert await served(running, "code") == "small"


async def test_request_that_all_failed_pins_nothing(gateway: StartGateway, cache: Block) -> None:
    """The next one is decided as if it were the first."""
    decider = make_decider()
    async with Upstream([error(500), chat("big")]) as big, Upstream([error(500)]) as small:
        running = await gateway(router_conf(big, small, {"session_cache": cache}), decider)
        path, body = says("chat", "code")
        reply = await running.request("POST", path, {AFFINITY: "s1"}, orjson.dumps(body))
        assert reply.status == 500
        assert await served(running, "code") == "big"
        assert decider.asked == 2  # type: ignore[attr-defined]


async def test_heartbeats_may_begin_before_anybody_knows_the_model(gateway: StartGateway, cache: Block) -> None:
    """The head cannot tell it then; the log does, and the session is on the model that has answered in the end."""
    release = asyncio.Event()
    slow = stall(release, then=error(500))
    async with Upstream([slow]) as big, Upstream([chat_sse("small"), chat("small")]) as small:
        text = router_conf(big, small, {"session_cache": cache}, proxy={"heartbeat": "5ms"})
        running = await gateway(text, make_decider())
        path, body = says("chat", "code", stream=True)
        async with running.client() as client:
            await client.send(request("POST", path, {AFFINITY: "s1"}, orjson.dumps(body)))
            head = await client.read_until(b": heartbeat")
            release.set()
            await client.read_until(b"[DONE]")
        assert b"x-pixiu-model" not in head
        (line,) = await running.wait_log()
        assert (line["model"], [attempt["model"] for attempt in line["attempts"]]) == ("small", ["big", "small"])
        assert await served(running, "code") == "small"


async def test_id_stays_between_the_client_and_the_gateway(gateway: StartGateway) -> None:
    """No endpoint sees it, whatever is asked for; the tenant is not ours alone."""
    async with Upstream(lambda _: chat("x")) as model:
        running = await gateway(
            router_conf(model, model, {"session_cache": {"tenant_header": "x-tenant"}}), make_decider()
        )
        fields = {"X-Model-Affinity": "secret-id", "X-Tenant": "t"}
        path, body = says("chat", "code")
        await running.request("POST", path, fields, orjson.dumps(body))
        await running.request("POST", "/v1/embeddings", fields, orjson.dumps({"model": "big", "input": "x"}))
        await running.request("GET", "/v1/files", fields)
        assert len(model.requests) == 3
        for request in model.requests:
            assert b"secret-id" not in request.head
            assert request.header("x-tenant") == b"t"


async def served(running: RunningGateway, text: str, **more: Any) -> str:
    """The model that answered well, by the answer's header."""
    path, body = says("chat", text, **more)
    reply = await running.request("POST", path, {AFFINITY: "s1"}, orjson.dumps(body))
    assert reply.status == 200
    assert reply.complete
    model = reply.header("x-pixiu-model")
    assert model is not None
    assert model in reply.body
    return model.decode()


@pytest.mark.parametrize("mode", ["pin", "user-turn", "budget"])
async def test_pin_to_a_model_that_is_gone_is_none(gateway: StartGateway, redis: Service, mode: str) -> None:
    """After a change of the file, what an older gateway has pinned is decided anew, and pinned anew."""
    routing = {"session_cache": shared(redis), "session_mode": mode}
    async with Upstream(lambda _: chat("x")) as model:
        before = await gateway(
            router_conf(model, model, routing, model_metrics_sources=[PRICES]).replace("big", "old"), make_decider()
        )
        path, body = says("chat", "code")
        headers, content = {AFFINITY: "s1"}, orjson.dumps(body)
        assert (await before.request("POST", path, headers, content)).header("x-pixiu-model") == b"old"
        await before.stop()
        decider = make_decider()
        after = await gateway(router_conf(model, model, routing, model_metrics_sources=[PRICES]), decider)
        tool = orjson.dumps(says("chat", "talk", tool=True)[1])
        for _ in range(2):
            assert (await after.request("POST", path, headers, tool)).header("x-pixiu-model") == b"small"
        assert decider.asked == 1  # type: ignore[attr-defined]


# --- the other modes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("api", APIS)
async def test_tool_loop_stays(talk: Talk, cache: Block, api: str, stream: bool) -> None:
    """Mode user-turn: while tools answer nothing is decided; when the user speaks, it is."""
    running = await talk.gateway(session_cache=cache, session_mode="user-turn")
    assert await ask(running, "code", api=api, stream=stream) == "big"
    assert talk.decisions == 1
    for _ in range(2):
        assert await ask(running, "talk", api=api, stream=stream, tool=True) == "big"
    assert talk.decisions == 0
    assert await ask(running, "talk", api=api, stream=stream) == "small"
    assert await ask(running, "code", api=api, stream=stream, tool=True) == "small"
    assert talk.decisions == 1
    # Another model is asked for: a side call, which is decided, and which moves nothing.
    assert await ask(running, "code", api=api, tool=True, model="other") == "big"
    assert await ask(running, "code", api=api, tool=True) == "small"
    assert talk.decisions == 1


async def test_budget_holds_a_conversation_until_it_has_earned_its_switch(gateway: StartGateway, cache: Block) -> None:
    """Mode budget, with the tokens that the answers tell.

    A switch costs 5 - 0.3 per token, and a warm turn adds 0.3 per token to the baseline. All of that may be spent here: so
    the 16th turn that asks for it gets it.
    """
    routing = {"session_cache": cache, "session_mode": "budget", "routing_budget": {"max_switch_spend_pct": 100}}
    usage = {"prompt_tokens": 1000, "completion_tokens": 1, "total_tokens": 1001}
    async with (
        Upstream(lambda _: chat("big", usage=usage)) as big,
        Upstream(lambda _: chat("small", usage=usage)) as small,
    ):
        text = router_conf(big, small, routing, model_metrics_sources=[PRICES])
        running = await gateway(text, make_decider())
        assert await served(running, "code") == "big"
        models = [await served(running, "talk") for _ in range(16)]
    assert models == ["big"] * 15 + ["small"]


async def test_conversation_is_recognised_without_an_id(talk: Talk, cache: Block) -> None:
    """In every API, by how it begins; a second one that begins otherwise is another."""
    running = await talk.gateway(session_cache=cache, implicit_sessions=True)
    assert await ask(running, "code one", "") == "big"
    assert talk.decisions == 1
    for api in APIS:
        assert await ask(running, "code one", "", api, tool=True) == "big"
    assert talk.decisions == 0
    assert await ask(running, "talk two", "") == "small"
    assert await ask(running, "code one", "", tenant="t") == "big"
    assert talk.decisions == 2


async def test_openai_sdk_keeps_its_session(talk: Talk, cache: Block) -> None:
    """The header is all that a client has to add, and it may be added once for all requests."""
    running = await talk.gateway(session_cache=cache)
    async with openai.AsyncOpenAI(
        base_url=f"{running.url}/v1", api_key="k", max_retries=0, default_headers={"X-Model-Affinity": "sdk"}
    ) as client:
        models = []
        for text in ("code", "talk"):
            messages: Any = [{"role": "user", "content": text}]
            answer = await client.chat.completions.create(model="auto", messages=messages)
            stream = await client.chat.completions.create(model="auto", messages=messages, stream=True)
            chunks = [chunk async for chunk in stream]
            models += [answer.model, chunks[0].model, (await client.responses.create(model="auto", input=text)).model]
    assert models == ["big"] * 6
    assert talk.decisions == 1


# --- the decision endpoint -------------------------------------------------------------------------------------------


async def decide(running: RunningGateway, text: str | None, id_: str = "s1", api: str = "chat") -> Block:
    """The answer of the decision endpoint, save its trace. No text: a body that is none."""
    path, body = says(api, text or "")
    content = b"{broken" if text is None else orjson.dumps(body)
    reply = await running.request("POST", "/routing" + path, {AFFINITY: id_} if id_ else {}, content)
    assert reply.status == 200, reply.body
    found: Block = orjson.loads(reply.body)
    assert found.pop("trace_id")
    return found


@pytest.mark.parametrize("api", APIS)
async def test_decisions_are_pinned(talk: Talk, cache: Block, api: str) -> None:
    """Sequences 1 and 2: the whole list at first, the pinned model afterwards, whatever is asked."""
    running = await talk.gateway(session_cache=cache)
    whole = {"models": ["big", "small"], "route": "code", "pinned": False, "switched": False}
    assert await decide(running, "code", "", api) == whole
    assert await decide(running, "code", "", api) == whole
    assert talk.decisions == 2
    assert await decide(running, "code", "s1", api) == {**whole, "session_id": "s1"}
    pinned = {**whole, "models": ["big"], "session_id": "s1", "pinned": True}
    assert await decide(running, "talk", "s1", api) == pinned
    assert await decide(running, None, "s1", api) == pinned  # sequence 4: its body is not looked at
    assert talk.decisions == 1


async def test_pins_of_decisions_and_of_answers_are_the_same(talk: Talk, cache: Block) -> None:
    """Sequence 3, both ways."""
    running = await talk.gateway(session_cache=cache)
    await decide(running, "code", "d")
    assert await ask(running, "talk", "d") == "big"
    assert await ask(running, "talk", "p") == "small"
    assert (await decide(running, "code", "p"))["models"] == ["small"]
    assert talk.decisions == 2


async def test_decision_without_a_route_pins_nothing(talk: Talk, cache: Block) -> None:
    """Sequence 9: neither that endpoint nor the proxy ever asks for a model called none."""
    running = await talk.gateway(session_cache=cache)
    answer = await decide(running, "hello")
    assert (answer["models"], answer["route"], answer["pinned"]) == (["none"], None, False)
    assert await ask(running, "code") == "big"


# --- a store of a plugin ---------------------------------------------------------------------------------------------


@plugin(Family.STORE, "faulty")
class Faulty(Store):
    """A store whose author has made a mistake."""

    def __getattribute__(self, name: str) -> Any:
        if name in ("get", "set", "add", "swap"):
            raise ZeroDivisionError(name)
        return super().__getattribute__(name)


@pytest.mark.parametrize("mode", ["pin", "user-turn", "budget"])
async def test_fault_of_a_plugin_costs_no_request(gateway: StartGateway, mode: str) -> None:
    """Each is decided as if there were no sessions, and answered."""
    routing = {"session_cache": {"type": "faulty"}, "session_mode": mode}
    async with Upstream(lambda _: chat("big")) as big, Upstream(lambda _: chat("small")) as small:
        text = router_conf(big, small, routing, model_metrics_sources=[PRICES])
        running = await gateway(text, make_decider(), Faulty)
        assert [await served(running, text) for text in ("code", "talk", "code")] == ["big", "small", "big"]


# --- a shared store --------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def looking(redis: Service) -> AsyncIterator[RedisStore]:
    """Another client of the Redis."""
    store = RedisStore(RedisConfig(url=Secret(redis.url)))
    yield store
    await store.close()


async def kept(store: RedisStore, count: int) -> list[bytes]:
    """What Redis holds, once it is so many sessions."""
    async with asyncio.timeout(5):
        while len(found := [value async for _, value in store.scan("")]) < count:
            await asyncio.sleep(0.005)  # another process holds them: there is no event to wait for
    return found


async def test_two_gateways_agree(talk: Talk, redis: Service, looking: RedisStore) -> None:
    """What one has pinned the other finds, and what it has moved, too."""
    one, two = [await talk.gateway(session_cache=shared(redis)) for _ in range(2)]
    assert await ask(one, "code") == "big"
    assert await kept(looking, 1) == [b'{"model_name":"big","route_name":"code"}']
    assert await ask(two, "talk") == "big"
    assert await ask(two, "talk", "s2") == "small"
    await kept(looking, 2)
    assert await ask(one, "code", "s2") == "small"
    assert talk.decisions == 2


async def test_gateways_that_begin_at_once_end_up_agreeing(talk: Talk, redis: Service) -> None:
    """Whoever was first: after the first answers everybody follows the same pin."""
    gateways = [await talk.gateway(session_cache=shared(redis)) for _ in range(3)]
    texts = ("code", "talk", "code")
    await asyncio.gather(*(ask(running, text) for running, text in zip(gateways, texts, strict=True)))
    for running in gateways[:2]:
        await running.stop()  # what they wanted to keep has been decided by now
    models = {await ask(await talk.gateway(session_cache=shared(redis)), text) for text in ("code", "talk")}
    assert len(models) == 1


async def test_stopping_loses_no_session(talk: Talk, redis: Service) -> None:
    """What was pinned a moment before is in Redis when the gateway has ended."""
    one = await talk.gateway(session_cache=shared(redis))
    await asyncio.gather(*(ask(one, "code", f"s{number}") for number in range(20)))
    await one.stop()
    two = await talk.gateway(session_cache=shared(redis))
    models = await asyncio.gather(*(ask(two, "talk", f"s{number}") for number in range(20)))
    assert models == ["big"] * 20


async def test_what_cannot_be_read_is_replaced(talk: Talk, redis: Service, looking: RedisStore) -> None:
    """Something else under our key is a session that is not known."""
    running = await talk.gateway(session_cache=shared(redis))
    assert await ask(running, "code") == "big"
    await kept(looking, 1)
    async for key, _ in looking.scan(""):
        await looking.set(key, b"{broken", ttl=60)
    assert await ask(running, "talk") == "small"
    assert await ask(running, "code") == "small"


async def test_redis_is_killed_and_started_again(talk: Talk, redis: Service) -> None:
    """Sequence 8: no request fails, whenever it falls; without Redis each is decided, and with it sessions go on."""
    running = await talk.gateway(session_cache=shared(redis))
    assert await ask(running, "code") == "big"
    ended = asyncio.Event()
    count = 0

    async def traffic(id_: str) -> None:
        nonlocal count
        while not ended.is_set():
            await ask(running, "code", id_)
            count += 1

    async with asyncio.TaskGroup() as group:
        for number in range(4):
            group.create_task(traffic(f"t{number}"))
        for sign in (signal.SIGKILL, signal.SIGINT):
            before = count
            await until(lambda before=before: count > before + 20)
            await asyncio.to_thread(redis.stop, sign)
            before = count
            await until(lambda before=before: count > before + 20)
            assert await ask(running, "code") == "big"
            async with asyncio.timeout(20):
                while await ask(running, "talk") == "big":
                    pass  # as long as its pin waits to be written it is known
            await asyncio.to_thread(redis.start)
        before = count
        await until(lambda before=before: count > before + 20)
        ended.set()
    assert await ask(running, "code", "new") == "big"
    talk.decisions  # noqa: B018 - from here on
    assert await ask(running, "talk", "new") == "big"
    assert talk.decisions == 0


async def until(condition: Any) -> None:
    """Wait for traffic."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def test_redis_that_hangs_delays_one_request_and_fails_none(talk: Talk, redis: Service) -> None:
    """Then it is left alone for a while, and asked again."""
    running = await talk.gateway(session_cache=shared(redis, timeout="200ms", rest="60s"))
    assert await ask(running, "code") == "big"
    redis.signal(signal.SIGSTOP)
    try:
        assert await ask(running, "talk", "s2") == "small"
        models = await asyncio.gather(*(ask(running, "talk", f"h{number}") for number in range(20)))
    finally:
        redis.signal(signal.SIGCONT)
    assert models == ["small"] * 20


async def test_gateway_starts_without_its_redis(talk: Talk, redis: Service) -> None:
    """Sessions begin when it comes."""
    redis.stop()
    running = await talk.gateway(session_cache=shared(redis))
    assert await ask(running, "code") == "big"
    assert await ask(running, "talk", "other") == "small"
    await asyncio.to_thread(redis.start)
    assert await ask(running, "code", "new") == "big"
    assert await ask(running, "talk", "new") == "big"
