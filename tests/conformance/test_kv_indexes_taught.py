"""What every kind of KV-cache index finds, once it knows: each is taught in its own way, and asked the same questions.

Engines, controllers and their events are fakes that answer as the real ones were recorded (``test_fake_lmcache.py``).
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio

from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.filters.ai.kvcache.config import KvCacheConfig
from pixiu_py.filters.ai.kvcache.index.base import KvIndex
from pixiu_py.filters.ai.kvcache.index.kv_events import KvEventsConfig, KvEventsIndex
from pixiu_py.filters.ai.kvcache.index.lmcache import LmcacheConfig, LmcacheIndex
from pixiu_py.filters.ai.kvcache.index.lmcache_coordinator import CoordinatorConfig, CoordinatorIndex
from pixiu_py.filters.ai.kvcache.index.prefix import PrefixConfig, PrefixIndex
from pixiu_py.registry import Family
from tests.fakes.clusters import cluster_context, endpoint_config, make_cluster
from tests.fakes.kinds import of
from tests.fakes.kv import prompt
from tests.fakes.kv_publisher import Publisher, message, stored
from tests.fakes.lmcache import FakeController, FakeCoordinator, FakeVllm, tokens_of, words

NAMES = ("a", "b")
#: Tokens of a block of the engines' events.
BLOCK = 32


def chat(seed: str, count: int = 600, *more: str) -> dict[str, Any]:
    """A chat whose first message has so many words."""
    messages = [{"role": "user", "content": text} for text in (words(seed, count), *more)]
    return {"model": "tiny", "messages": messages}


class World:
    """An index, and how it learns that an endpoint holds a prompt."""

    def __init__(self, index: KvIndex, endpoints: tuple[Endpoint, ...], teach: Callable[..., Awaitable[None]]) -> None:
        self.index = index
        self.endpoints = endpoints
        self._teach = teach

    async def teach(self, name: str, document: dict[str, Any]) -> None:
        """Let an endpoint hold a prompt, and the index know."""
        await self._teach(name, document)

    async def ask(self, document: dict[str, Any], *names: str) -> dict[str, int]:
        """Who holds how much of a prompt, of these endpoints (all if none is named)."""
        asked = [endpoint for endpoint in self.endpoints if endpoint.id in (names or NAMES)]
        found = self.index.lookup(prompt(document), asked)
        return dict(await found if inspect.isawaitable(found) else found)


async def _prefix(stack: AsyncExitStack, engines: tuple[Endpoint, ...], context: Any) -> World:
    index = PrefixIndex(PrefixConfig(), KvCacheConfig(enabled=True), context)

    async def teach(name: str, document: dict[str, Any]) -> None:
        index.routed(prompt(document), next(each for each in engines if each.id == name))

    return World(index, engines, teach)


async def _lmcache(stack: AsyncExitStack, engines: tuple[Endpoint, ...], context: Any) -> World:
    controller = await stack.enter_async_context(FakeController(*NAMES))
    settings = KvCacheConfig(enabled=True, lmcache_endpoint=f"http://{controller.address}")

    async def teach(name: str, document: dict[str, Any]) -> None:
        controller.store(name, tokens_of(document))

    return World(LmcacheIndex(LmcacheConfig(), settings, context), engines, teach)


async def _coordinator(stack: AsyncExitStack, engines: tuple[Endpoint, ...], context: Any) -> World:
    coordinator = await stack.enter_async_context(FakeCoordinator(*NAMES))
    settings = KvCacheConfig(enabled=True, lmcache_endpoint=f"http://{coordinator.address}")

    async def teach(name: str, document: dict[str, Any]) -> None:
        coordinator.store(name, tokens_of(document))

    return World(CoordinatorIndex(CoordinatorConfig(), settings, context), engines, teach)


async def _kv_events(stack: AsyncExitStack, engines: tuple[Endpoint, ...], context: Any) -> World:
    index = KvEventsIndex(KvEventsConfig(bind="tcp://127.0.0.1:*"), KvCacheConfig(enabled=True), context)
    publishers: dict[str, Publisher] = {}
    numbers = dict.fromkeys(NAMES, 0)

    async def teach(name: str, document: dict[str, Any]) -> None:
        if name not in publishers:
            publisher = Publisher(index.subscriber.address, f"kv@{name}@tiny")
            publishers[name] = await stack.enter_async_context(publisher)
        tokens = tokens_of(document)
        whole = tokens[: len(tokens) // BLOCK * BLOCK]
        hashes = [hash((name, *whole[: end + BLOCK])) % 2**63 for end in range(0, len(whole), BLOCK)]
        before = index.size
        await publishers[name].publish(numbers[name], message(1.0 + numbers[name], stored(hashes, whole)))
        numbers[name] += 1
        async with asyncio.timeout(5):
            while index.size == before:
                await asyncio.sleep(0.005)  # another thread receives: there is no event

    return World(index, engines, teach)


WORLDS = {"prefix": _prefix, "lmcache": _lmcache, "lmcache-coordinator": _coordinator, "kv-events": _kv_events}


@pytest_asyncio.fixture(params=WORLDS)
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """Each kind, with two engines."""
    async with AsyncExitStack() as stack:
        engines = [await stack.enter_async_context(FakeVllm(name)) for name in NAMES]
        configs = [endpoint_config(engine.instance, "127.0.0.1", engine.port) for engine in engines]
        context = cluster_context(clock=asyncio.get_running_loop().time)
        made = await WORLDS[request.param](stack, make_cluster(*configs).endpoints, context)
        await made.index.start()
        stack.push_async_callback(made.index.close)
        yield made


def test_every_registered_kind_is_tested_here() -> None:
    """A new one fails until it can be taught."""
    assert sorted(WORLDS) == sorted(entry.kind for entry in of(Family.KV_INDEX))


async def test_what_was_taught_is_found(world: World) -> None:
    """At the endpoint that holds it, and nearly all of it: the last, incomplete chunk may be missing."""
    await world.teach("b", chat("x"))
    found = await world.ask(chat("x"))
    assert found.keys() == {"b"}
    assert 256 <= found["b"] <= prompt(chat("x")).length


async def test_a_prompt_that_goes_on_finds_its_beginning(world: World) -> None:
    """Which was never asked in these words."""
    await world.teach("a", chat("x"))
    longer = await world.ask(chat("x", 600, "go on", words("y", 300)))
    assert longer.keys() == {"a"}
    assert longer["a"] >= 256


async def test_a_part_of_a_prompt_finds_no_more_than_itself(world: World) -> None:
    """A shorter one that begins equally."""
    await world.teach("a", chat("x", 1200))
    shorter = chat("x", 600)
    found = (await world.ask(shorter)).get("a", 0)
    assert 0 < found <= prompt(shorter).length


async def test_other_prompts_find_nothing(world: World) -> None:
    """Nor those that differ in their first word only, or that have equal words in other roles."""
    await world.teach("a", chat("x"))
    assert await world.ask(chat("y")) == {}
    system = {"role": "system", "content": "first"}
    assert await world.ask({**chat("x"), "messages": [system, *chat("x")["messages"]]}) == {}


async def test_the_longest_is_told(world: World) -> None:
    """Who holds more is known to hold more."""
    await world.teach("a", chat("x", 600))
    await world.teach("b", chat("x", 1200))
    found = await world.ask(chat("x", 1200))
    assert found["b"] > found.get("a", 0)


async def test_only_endpoints_that_are_asked_about(world: World) -> None:
    """Those that are unhealthy, or that serve another model, are not named."""
    await world.teach("b", chat("x"))
    assert await world.ask(chat("x"), "a") == {}
    assert (await world.ask(chat("x"), "b")).keys() == {"b"}


async def test_how_a_prompt_is_to_be_answered_makes_no_difference(world: World) -> None:
    """Temperature, stream and the like are no part of it."""
    await world.teach("b", chat("x"))
    assert (await world.ask({**chat("x"), "stream": True, "temperature": 0.1, "max_tokens": 7})).keys() == {"b"}
