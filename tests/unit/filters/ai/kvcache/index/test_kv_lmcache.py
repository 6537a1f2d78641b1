"""The ``lmcache`` index against a controller that answers as LMCache's does: routing, and managing the cache."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pixiu_py.filters.ai.kvcache.config import CacheStrategyConfig, KvCacheConfig, RetryConfig, TokenCacheConfig
from pixiu_py.filters.ai.kvcache.index.base import IndexFailed
from pixiu_py.filters.ai.kvcache.index.lmcache import LmcacheConfig, LmcacheIndex
from pixiu_py.filters.ai.kvcache.load import Board, Load
from pixiu_py.filters.ai.kvcache.prompt import Prompt
from tests.fakes.clusters import cluster_context, endpoint_config, make_cluster
from tests.fakes.kv import prompt
from tests.fakes.lmcache import LOCATION, FakeController, FakeVllm, tokens_of, words

LONG: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": words("a", 600)}]}


class Setup:
    """Two engines, their controller, and the index."""

    def __init__(self, controller: FakeController, engines: list[FakeVllm], **settings: Any) -> None:
        self.controller = controller
        self.engines = engines
        self.context = cluster_context()
        self.context.clock = lambda: self.now
        self.now = 100.0
        cluster = make_cluster(*(endpoint_config(e.instance, "127.0.0.1", e.port) for e in engines))
        self.endpoints = cluster.endpoints
        self.settings = KvCacheConfig(
            enabled=True,
            lmcache_endpoint=f"http://{controller.address}",
            retry=RetryConfig(max_attempts=2, base_backoff=0.001, max_backoff=0.001),
            **settings,
        )
        self.index = LmcacheIndex(LmcacheConfig(), self.settings, self.context)

    async def lookup(self, document: dict[str, Any] = LONG) -> dict[str, int]:
        """What the index finds."""
        return dict(await self.index.lookup(prompt(document), self.endpoints))

    def served(self, instance: str, document: dict[str, Any] = LONG) -> None:
        """An engine has computed a prompt, and the index hears that it answered."""
        self.controller.store(instance, tokens_of(document))
        endpoint = next(endpoint for endpoint in self.endpoints if endpoint.id == instance)
        self.index.routed(self.asked(document), endpoint)

    @staticmethod
    def asked(document: dict[str, Any]) -> Prompt:
        """A prompt."""
        return prompt(document)

    async def idle(self) -> None:
        """Nothing is being done in the background any more."""
        await self.until(lambda: not len(self.index._background))

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for what other tasks do."""
        async with asyncio.timeout(5):
            while not condition():
                await asyncio.sleep(0.001)

    def count(self, name: str) -> dict[tuple[str, ...], float]:
        """A counter's series."""
        metric = self.context.metrics._metrics[f"pixiu_py_kvcache_{name}"]
        return metric.series  # type: ignore[union-attr, return-value]


@asynccontextmanager
async def setup(**settings: Any) -> AsyncIterator[Setup]:
    """Everything, started; inst-b registered first, as in the recording."""
    async with FakeController("b", "a") as controller, FakeVllm("a", controller) as a, FakeVllm("b", controller) as b:
        made = Setup(controller, [a, b], **settings)
        await made.index.start()
        try:
            yield made
        finally:
            await made.index.close()


def strategy(**keys: Any) -> dict[str, Any]:
    """A filter's settings with this strategy."""
    return {"cache_strategy": CacheStrategyConfig(**keys)}


async def test_a_prompt_is_found_where_it_was_computed() -> None:
    """Also one that was never seen word for word: the prefix counts."""
    async with setup() as made:
        assert await made.lookup() == {}
        made.served("b")
        assert await made.lookup() == {"b": 512}
        longer = {**LONG, "messages": [*LONG["messages"], {"role": "user", "content": words("more", 300)}]}
        assert await made.lookup(longer) == {"b": 512}


async def test_short_prompts_are_not_looked_up() -> None:
    """Less than a chunk is never found; the controller is not asked."""
    async with setup() as made:
        assert await made.lookup({**LONG, "messages": [{"role": "user", "content": "hello"}]}) == {}
        assert made.controller.requests == []


async def test_instances_have_their_endpoints() -> None:
    """By the same id, or by the map; an instance that is no endpoint of this request is left out."""
    async with setup(instances={"b": ["a", "elsewhere"]}) as made:
        made.served("b")
        assert await made.lookup() == {"a": 512}
        made.controller.chunks["unknown"] = made.controller.chunks.pop("b")
        assert await made.lookup() == {}


@pytest.mark.parametrize(("mode", "reason"), [("garbage", "answer"), ("error", "status")])
async def test_a_controller_that_talks_nonsense(mode: str, reason: str) -> None:
    """A reason for the metrics; after five in a row nobody is asked for a while; then it is found out that it is well."""
    async with setup() as made:
        made.controller.mode = mode
        for _ in range(5):
            with pytest.raises(IndexFailed, match=reason):
                await made.lookup()
        assert not len(made.index._background), "an answer is an answer: nobody asks again behind the request's back"
        with pytest.raises(IndexFailed, match="breaker"):
            await made.lookup()
        asked = len(made.controller.requests)
        made.controller.mode = "ok"
        with pytest.raises(IndexFailed, match="breaker"):
            await made.lookup()
        assert len(made.controller.requests) == asked
        made.now += 10.0
        assert await made.lookup() == {}


async def test_what_a_request_could_not_wait_for_is_learnt_in_the_background() -> None:
    """The budget is used up in the tokenizer; the tokens are there for the next request."""
    async with setup(token_cache=TokenCacheConfig(enabled=True)) as made:
        made.engines[0].tokenizer = made.engines[1].tokenizer = "stall"
        made.controller.store("a", tokens_of(LONG))
        waiting = asyncio.get_running_loop().create_task(made.lookup())
        await made.until(lambda: bool(made.engines[0].requests or made.engines[1].requests))
        for engine in made.engines:
            engine.tokenizer = "ok"
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await made.idle()
        asked = sum(len(engine.requests) for engine in made.engines)
        assert await made.lookup() == {"a": 512}
        assert sum(len(engine.requests) for engine in made.engines) == asked, "the tokens were in the cache"
        assert made.count("background_total")["learn", "ok"] == 1


async def test_a_controller_that_is_always_too_slow_is_not_waited_for() -> None:
    """It is well, so no breaker opens; but no request pays the budget for nothing any more."""
    async with setup() as made:
        made.controller.mode = "stall"
        for _ in range(5):
            waiting = asyncio.get_running_loop().create_task(made.lookup())
            asked = len(made.controller.requests)
            await made.until(lambda asked=asked: len(made.controller.requests) > asked)  # type: ignore[misc]
            made.now += 0.05
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        with pytest.raises(IndexFailed, match="slow"):
            await made.lookup()


async def test_clients_that_leave_say_nothing() -> None:
    """Cancelled before the budget was used up, however often."""
    async with setup() as made:
        made.controller.mode = "stall"
        for _ in range(10):
            waiting = asyncio.get_running_loop().create_task(made.lookup())
            asked = len(made.controller.requests)
            await made.until(lambda asked=asked: len(made.controller.requests) > asked)  # type: ignore[misc]
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        made.controller.mode = "ok"
        assert await made.lookup() == {}


async def test_nothing_is_ever_found() -> None:
    """Served before and not there, again and again: counted, since nothing on the wire shows a wrong hash seed."""
    async with setup() as made:
        for _ in range(25):
            await made.lookup()
        assert made.count("unfound_total")[()] == 24


# --- managing the cache ----------------------------------------------------------------------------------------------


async def test_what_is_hot_is_pinned_once_where_it_is() -> None:
    """In the instance and at the location that the lookup names; not at every request."""
    async with setup(**strategy(enable_pinning=True, hot_content_threshold=2)) as made:
        for _ in range(4):
            await made.lookup()
            made.served("a")
            await made.idle()
        pins = made.controller.asked("/pin")
        assert [(pin["instance_id"], pin["location"], pin["tokens"]) for pin in pins] == [
            ("a", LOCATION, tokens_of(LONG))
        ]
        assert made.count("background_total")["pin", "ok"] == 1
        made.now += 301.0
        for _ in range(2):
            await made.lookup()
            made.served("a")
            await made.idle()
        assert len(made.controller.asked("/pin")) == 2, "the pin may have ended by now"


async def test_configured_places_win() -> None:
    """Pixiu's keys."""
    keys = {"pin_instance_id": "b", "pin_location": "Disk", "hot_content_threshold": 1, "enable_pinning": True}
    async with setup(**strategy(**keys)) as made:
        await made.lookup()
        made.served("a")
        await made.idle()
        (pin,) = made.controller.asked("/pin")
        assert (pin["instance_id"], pin["location"]) == ("b", "Disk")
        assert made.count("background_total")["pin", "nothing"] == 1


async def test_what_nobody_holds_is_not_pinned() -> None:
    """There is no empty instance to name, as Pixiu does."""
    async with setup(**strategy(enable_pinning=True, hot_content_threshold=1)) as made:
        await made.lookup()
        made.index.routed(prompt(LONG), made.endpoints[0])
        await made.idle()
        assert made.controller.asked("/pin") == []
        assert made.count("background_total")["pin", "no_target"] == 1


async def test_eviction_clears_the_named_location_under_pressure() -> None:
    """Measured in the engines; once within the window, whatever prompts come."""
    keys = {"enable_eviction": True, "memory_threshold": 0.9, "evict_instance_id": "a"}
    async with setup(**strategy(**keys)) as made:
        board = made.index.board = Board(5.0)
        for usage in (0.89, 0.95):
            board.put(made.endpoints[0], Load(1, 0, usage, at=made.now))
            for seed in "xyz":
                made.served("a", {**LONG, "messages": [{"role": "user", "content": words(seed, 300)}]})
                await made.idle()
        assert made.controller.asked("/clear") == [{"instance_id": "a", "location": LOCATION}]
        made.now += 10.0
        made.served("a")
        await made.idle()
        assert len(made.controller.asked("/clear")) == 1, "a reading that is too old says nothing"


async def test_an_operation_that_is_never_answered_is_not_repeated() -> None:
    """It has a time limit, one try, and a breaker of its own: lookups go on."""
    keys = {"enable_compression": True, "load_threshold": 0.5, "compress_method": "cachegen"}
    async with setup(request_timeout=0.05, **strategy(**keys)) as made:
        board = made.index.board = Board(5.0)
        board.put(made.endpoints[0], Load(1, 1, at=made.now))
        for _ in range(6):
            made.served("a")
            await made.idle()
        assert len(made.controller.asked("/compress")) == 5
        assert made.count("background_total")["compress", "failed"] == 6
        assert made.count("calls_total")["compress", "breaker"] == 1
        assert await made.lookup() == {"a": 512}


async def test_without_rules_nothing_is_done() -> None:
    """Routing alone costs the controller lookups only."""
    async with setup() as made:
        await made.lookup()
        made.served("a")
        assert not len(made.index._background)
