"""The filter by itself: whatever the index does, the request goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.errors import StartError
from pixiu_py.filters.ai.kvcache.config import KvCacheConfig, KvIndexRef
from pixiu_py.filters.ai.kvcache.filter import PREFERRED_ENDPOINT, KvCache
from pixiu_py.filters.ai.kvcache.index.base import IndexFailed, KvIndex, Matches
from pixiu_py.filters.ai.kvcache.poller import LoadConfig
from pixiu_py.filters.ai.kvcache.prompt import Prompt
from pixiu_py.filters.llm.plan import PLAN, plan_of
from pixiu_py.http.exchange import Attempt, Exchange, Response
from pixiu_py.registry import Family, plugin
from tests.fakes.clusters import cluster_context, endpoint_config, make_cluster
from tests.fakes.exchange import make_exchange
from tests.fakes.kv import CHAT, text

BODY = {"model": "m", "messages": [{"role": "user", "content": text("hello", 4000)}]}


class Scripted(KvIndex):
    """Answers, or fails, as it is told."""

    answer: Any = {}

    async def lookup(self, prompt: Prompt, endpoints: Sequence[Endpoint]) -> Matches:
        """What it was told."""
        if isinstance(self.answer, BaseException):
            raise self.answer
        if isinstance(self.answer, asyncio.Event):
            await self.answer.wait()
        return self.answer  # type: ignore[no-any-return]


def build(answer: Any = None, **config: Any) -> KvCache:
    """A filter with a scripted index, or, without an answer, with the prefix index."""
    context = cluster_context()
    if answer is not None:
        context.registry.add(plugin(Family.KV_INDEX, "scripted")(type("Index", (Scripted,), {"answer": answer})))
        config["index"] = KvIndexRef(name="scripted", config=None)
    return KvCache(KvCacheConfig(enabled=True, load=LoadConfig(interval=0.0), **config), context)


def chat(json: Any = BODY, **changes: Any) -> Exchange:
    """A chat on its way to a cluster of two."""
    exchange = make_exchange("POST", CHAT, json=json, **changes)
    exchange.cluster = make_cluster(endpoint_config("a"), endpoint_config("b", port=81))
    return exchange


def answer(exchange: Exchange, filter_: KvCache, endpoint_id: str, status: int = 200) -> None:
    """Let an endpoint answer."""
    assert exchange.cluster is not None
    exchange.endpoint = exchange.cluster.find(endpoint_id)
    exchange.attempts.append(Attempt(endpoint_id, "", "main", status))
    exchange.response = Response(status)
    filter_.encode(exchange)


def ranked(exchange: Exchange) -> list[str]:
    """The order of the endpoints; empty: the balancer's."""
    plan = exchange.params.get(PLAN)
    assert exchange.cluster is not None
    return [] if plan is None else [endpoint.id for endpoint in plan.rank(exchange.cluster.endpoints)]


def count(filter_: KvCache, result: str) -> float:
    """How many lookups ended like this."""
    series = filter_.context.metrics.counter("pixiu_py_kvcache_lookups_total", "", ("index", "result")).series
    return series.get((filter_.config.kind, result), 0)


# --- hits and misses -------------------------------------------------------------------------------------------------


async def test_the_prompt_goes_where_its_prefix_is() -> None:
    """By Pixiu's parameter, which others may read, and by the plan."""
    filter_ = build({"b": 900})
    exchange = chat()
    assert await filter_.decode(exchange) is None
    assert exchange.params[PREFERRED_ENDPOINT] == "b"
    assert ranked(exchange) == ["b", "a"]
    assert count(filter_, "hit") == 1


async def test_an_answer_teaches_the_index() -> None:
    """A good one only."""
    filter_ = build()
    for endpoint_id, status in (("a", 500), ("b", 200)):
        exchange = chat()
        await filter_.decode(exchange)
        assert PREFERRED_ENDPOINT not in exchange.params
        answer(exchange, filter_, endpoint_id, status)
        filter_.done(exchange)
    exchange = chat()
    await filter_.decode(exchange)
    assert exchange.params[PREFERRED_ENDPOINT] == "b"


async def test_an_endpoint_that_cannot_be_reached_has_lost_its_cache() -> None:
    """Its process is gone; any other failure says nothing about the cache."""
    filter_ = build()
    exchange = chat()
    await filter_.decode(exchange)
    answer(exchange, filter_, "b")
    for error, expected in (("reset", "hit"), ("connect_failed", "miss")):
        exchange.attempts = [Attempt("b", "", "main", error=error)]
        filter_.done(exchange)
        again = chat()
        await filter_.decode(again)
        assert count(filter_, expected) == 1 + (expected == "miss")


async def test_another_filters_choice_stands() -> None:
    """A session that is pinned stays where it is; models that a router has ranked are not cut short."""
    filter_ = build({"b": 900})
    exchange = chat()
    exchange.params[PREFERRED_ENDPOINT] = "a"
    await filter_.decode(exchange)
    assert exchange.params[PREFERRED_ENDPOINT] == "a"
    exchange = chat()
    plan_of(exchange).models = ("m", "n")
    await filter_.decode(exchange)
    assert PREFERRED_ENDPOINT not in exchange.params
    assert ranked(exchange) == ["b", "a"]


# --- faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "result"),
    [(IndexFailed("breaker"), "breaker"), (ValueError("a bug"), "error"), (OSError("gone"), "error")],
)
async def test_a_fault_of_the_index_is_the_balancers_turn(fault: Exception, result: str) -> None:
    """And is counted with its reason."""
    filter_ = build(fault)
    exchange = chat()
    assert await filter_.decode(exchange) is None
    assert PREFERRED_ENDPOINT not in exchange.params
    assert ranked(exchange) == []
    assert count(filter_, result) == 1


async def test_an_index_that_takes_too_long_is_not_waited_for() -> None:
    """The routing budget ends it."""
    filter_ = build(asyncio.Event(), lookup_routing_timeout=0.001)
    exchange = chat()
    await filter_.decode(exchange)
    assert ranked(exchange) == []
    assert count(filter_, "timeout") == 1


async def test_a_client_that_goes_ends_the_lookup() -> None:
    """A cancellation is passed on, not counted."""
    filter_ = build(asyncio.Event(), lookup_routing_timeout=60.0)
    task = filter_.context.tasks.spawn(filter_.decode(chat()), "decode")
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert count(filter_, "timeout") == count(filter_, "error") == 0


@pytest.mark.parametrize("body", [b"no json", b"[1]", b"{}", b'{"messages": []}', b"\xff"])
async def test_a_body_without_a_prompt_passes(body: bytes) -> None:
    """What it is worth the endpoint says."""
    filter_ = build({"b": 900})
    exchange = chat(None, body=body)
    assert await filter_.decode(exchange) is None
    assert exchange.params == {}
    assert count(filter_, "no_prompt") == 1


async def test_a_body_that_is_too_large_to_look_at_passes() -> None:
    """The proxy has a limit of its own."""
    filter_ = build({"b": 900}, max_body_size=100)
    exchange = chat()
    assert await filter_.decode(exchange) is None
    assert exchange.params == {}
    assert len(await exchange.request.body.read(10_000)) > 4000


async def test_what_need_not_be_routed_is_not_looked_at() -> None:
    """A filter that is off, no body, no cluster, no choice."""
    off = KvCache(KvCacheConfig(), cluster_context())
    await off.start()
    exchange = chat()
    await off.decode(exchange)
    off.encode(exchange)
    off.done(exchange)
    await off.close()
    filter_ = build({"b": 900})
    get = make_exchange("GET", "/v1/models")
    nowhere = chat()
    nowhere.cluster = None
    alone = chat()
    alone.cluster = make_cluster(endpoint_config("a"))
    for other in (get, nowhere, alone):
        await filter_.decode(other)
        assert other.params == {}
    assert exchange.params == {}


async def test_an_index_that_is_not_known_stops_the_start() -> None:
    """With its name."""
    with pytest.raises(StartError, match="'nobody'"):
        KvCache(KvCacheConfig(enabled=True, index=KvIndexRef(name="nobody")), cluster_context())


# --- why -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "asks", "told"),
    [("never", True, False), ("asked", False, False), ("asked", True, True), ("always", False, True)],
)
async def test_the_header_tells_why(mode: Any, asks: bool, told: bool) -> None:
    """To whom it is meant for."""
    filter_ = build({"b": 900}, route_header=mode)
    exchange = chat(headers={"x-pixiu-route": "1"} if asks else {})
    await filter_.decode(exchange)
    answer(exchange, filter_, "b")
    assert exchange.response is not None
    why = exchange.response.headers.get("x-pixiu-route")
    assert (why is not None) is told
    if why is not None:
        assert why.startswith("index=scripted; result=hit; choice=b; tokens=1")
        assert "; a(matched=0 " in why
        assert "; b(matched=900 " in why
