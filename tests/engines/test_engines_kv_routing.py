"""Two real vLLM engines with LMCache and KV events: a prompt goes where it is cached, and nothing stops the traffic.

The tests build on each other, from engines that are well to engines that are gone; they run in this order.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from pixiu_py.tasks import Tasks
from tests.conftest import StartGateway
from tests.engines.ask import Gateway, chat, conf_for, directly, session, until
from tests.engines.servers import Controller, Engine, KvEvents
from tests.fakes.services import free_port

A, B = "inst-a", "inst-b"
INDEXES = ("lmcache", "kv-events", "prefix")


@dataclass
class Fleet:
    """The servers."""

    controller: Controller
    engines: dict[str, Engine]
    events: KvEvents

    def conf(self, index: str, **kvcache: Any) -> str:
        """A gateway's configuration with this index."""
        keys: dict[str, Any] = {"index": {"type": index}, **kvcache}
        if index == "lmcache":
            keys["lmcache_endpoint"] = self.controller.url
        if index == "kv-events":
            keys["index"] = {"type": index, "bind": self.events.address, "replay": self.events.replay}
        return conf_for(list(self.engines.values()), **keys)


@pytest.fixture(scope="module")
def fleet(logs: Path) -> Iterator[Fleet]:
    """A controller and two engines that have registered with it and publish their KV events."""
    controller = Controller(logs)
    events = KvEvents(free_port())
    engines = {name: controller.engine(logs, name, *events.options(name)) for name in (A, B)}
    try:
        controller.start()
        for engine in engines.values():
            engine.launch()
        for engine in engines.values():
            engine.wait()
        yield Fleet(controller, engines, events)
    finally:
        for server in (*engines.values(), controller):
            server.stop()


@pytest_asyncio.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """Connections to gateways."""
    async with session() as made:
        yield made


async def warmed(gateway: Gateway, fleet: Fleet, index: str, seed: str) -> dict[str, Any]:
    """A prompt that B holds and of which the index knows: ``prefix`` learns from its own traffic only."""
    engine = fleet.engines[B]
    if index == "prefix":
        for number in range(10):
            document = chat(f"{seed}{number}")
            if (await gateway.ask(document)).by == B:
                return document
        raise AssertionError("ten cold prompts, and none was sent to B")
    document = chat(seed)
    if index == "kv-events":
        # Engines connect again to a gateway within a moment: whatever they publish then leads to a replay of the rest.
        async def heard() -> bool:
            await directly(engine, chat(f"hello{time.monotonic_ns()}", 40))
            return await gateway.metric('pixiu_py_kvcache_events_total{result="taken"}') > 0

        await until("the engine is heard", heard)
        before = await gateway.metric('pixiu_py_kvcache_index_size{index="kv-events"}')
        await directly(engine, document)

        async def told() -> bool:
            return await gateway.metric('pixiu_py_kvcache_index_size{index="kv-events"}') >= before + 16

        await until("the engine has told its blocks", told)
        return document
    return await _told_to_controller(fleet, engine, seed)


async def _told_to_controller(fleet: Fleet, engine: Engine, seed: str) -> dict[str, Any]:
    """A prompt that the controller knows of. What an engine stores while it and the controller begin is never told."""
    for number in range(12):
        document = chat(f"{seed}{number}")
        await directly(engine, document)
        tokens = (await asyncio.to_thread(engine.post, "/tokenize", document))["tokens"]
        for _ in range(25):
            answer = await asyncio.to_thread(fleet.controller.post, "/lookup", {"tokens": tokens})
            if answer["layout_info"]:
                return document
            await asyncio.sleep(0.2)  # another process tells another one: there is no event
    raise AssertionError("the controller knows of none of twelve prompts")


@pytest.mark.parametrize("index", INDEXES)
async def test_a_prompt_warmed_on_b_is_routed_to_b(
    fleet: Fleet, gateway: StartGateway, client: aiohttp.ClientSession, index: str
) -> None:
    """Also a conversation that goes on from it, which was never seen before; the engine's own counters agree."""
    asked = Gateway(client, await gateway(fleet.conf(index)))
    document = await warmed(asked, fleet, index, f"warm{index}")
    hits = fleet.engines[B].metric("vllm:prefix_cache_hits_total")
    on = {**document, "messages": [*document["messages"], {"role": "user", "content": "and now?"}]}
    answers = [await asked.ask(each) for each in (document, on, {**on, "temperature": 0.5})]
    print(f"\n{index}: {answers[1].route}")
    assert [(each.status, each.by, each.field("result")) for each in answers] == [(200, B, "hit")] * 3
    assert all(each.matched(B) >= 512 for each in answers)
    assert fleet.engines[B].metric("vllm:prefix_cache_hits_total") >= hits + 3 * 512


async def test_what_is_hot_is_pinned(fleet: Fleet, gateway: StartGateway, client: aiohttp.ClientSession) -> None:
    """By the controller, in the instance and at the location that its own lookup named: it says how many tokens."""
    strategy = {"enable_pinning": True, "hot_content_threshold": 2}
    asked = Gateway(client, await gateway(fleet.conf("lmcache", cache_strategy=strategy)))
    document = await warmed(asked, fleet, "lmcache", "hot")
    for _ in range(2):
        assert (await asked.ask(document)).by == B

    async def pinned() -> bool:
        return await asked.metric('pixiu_py_kvcache_background_total{work="pin",result="ok"}') == 1

    await until("the prompt is pinned", pinned)


async def test_what_engines_say_of_their_load_is_read(
    fleet: Fleet, gateway: StartGateway, client: aiohttp.ClientSession
) -> None:
    """Twelve long answers at an engine that runs eight at a time: four wait, and the score sees it."""
    conf = fleet.conf("prefix", load={"interval": "100ms", "timeout": "10s", "max_age": "1m"})
    asked = Gateway(client, await gateway(conf))
    await asked.ask(chat("first"))
    long = [{**chat(f"long{number}", 20), "max_tokens": 3500, "ignore_eos": True} for number in range(12)]

    async def keep_busy(document: dict[str, Any]) -> None:
        async with client.post(f"{fleet.engines[A].url}/v1/chat/completions", json=document) as response:
            assert response.status == 200
            await response.read()

    tasks = Tasks("test")
    busy = [tasks.spawn(keep_busy(document), "busy") for document in long]

    async def seen() -> bool:
        try:
            async with asyncio.timeout(3):
                answer = await asked.ask(chat(f"other{time.monotonic_ns()}", 20))
        except TimeoutError:  # it has joined the queue: nobody had looked at that yet
            return False
        waiting = next(part for part in answer.route.split("; ") if part.startswith(f"{A}("))
        assert answer.status == 200
        return int(waiting.partition("waiting=")[2].split()[0]) >= 1 and answer.by == B

    await until("the busy engine's queue is seen, and the other one asked", seen)
    await asyncio.gather(*busy)


@pytest.mark.parametrize("index", INDEXES)
async def test_b_killed_a_answers(
    fleet: Fleet, gateway: StartGateway, client: aiohttp.ClientSession, index: str
) -> None:
    """A prompt of which B holds all: its engine is gone, and every request is answered by the other one."""
    asked = Gateway(client, await gateway(fleet.conf(index)))
    if not fleet.engines[B].running:
        await asyncio.to_thread(fleet.engines[B].start)
    document = await warmed(asked, fleet, index, f"kill{index}")
    assert (await asked.ask(document)).by == B
    fleet.engines[B].kill()
    answers = [await asked.ask(document) for _ in range(10)]
    assert [(answer.status, answer.by) for answer in answers] == [(200, A)] * 10
    print(f"\n{index}: B killed, {answers[0].route} … {answers[-1].route}")


async def test_controller_killed_traffic_goes_on(
    fleet: Fleet, gateway: StartGateway, client: aiohttp.ClientSession
) -> None:
    """Within the routing budget of production; when it is back, prompts are found again."""
    running = await gateway(
        fleet.conf("lmcache", lookup_routing_timeout="50ms", circuit_breaker={"recovery_timeout": "1s"})
    )
    asked = Gateway(client, running)
    if not fleet.engines[B].running:
        await asyncio.to_thread(fleet.engines[B].start)
    fleet.controller.kill()
    answers = await asyncio.gather(*(asked.ask(chat(f"down{number % 5}")) for number in range(40)))
    assert [answer.status for answer in answers] == [200] * 40
    assert "hit" not in {answer.field("result") for answer in answers}
    later = [await asked.ask(chat(f"down{number % 5}")) for number in range(10)]
    assert [answer.status for answer in later] == [200] * 10
    results = [sorted({answer.field("result") for answer in each}) for each in (answers, later)]
    print(f"\ncontroller killed: 40 at once {results[0]}, 10 one by one {results[1]}: all answered")


async def test_b_begins_anew(fleet: Fleet, gateway: StartGateway, client: aiohttp.ClientSession) -> None:
    """An engine that comes back has an empty cache, and the index of its events knows that."""
    asked = Gateway(client, await gateway(fleet.conf("kv-events")))
    if not fleet.engines[B].running:
        await asyncio.to_thread(fleet.engines[B].start)
    document = await warmed(asked, fleet, "kv-events", "anew")
    assert (await asked.ask(document)).by == B
    await asyncio.to_thread(fleet.engines[B].stop)
    await asyncio.to_thread(fleet.engines[B].start)
    assert await asyncio.to_thread(fleet.engines[B].metric, "vllm:prefix_cache_hits_total") == 0

    async def noticed() -> bool:
        await directly(fleet.engines[B], chat(f"hello{time.monotonic_ns()}", 40))
        return await asked.metric('pixiu_py_kvcache_events_total{result="restart"}') == 1

    await until("the new life is noticed", noticed)
    other = await warmed(asked, fleet, "kv-events", "second life")
    assert (await asked.ask(other)).by == B
    assert (await asked.ask(document)).matched(B) == 0
