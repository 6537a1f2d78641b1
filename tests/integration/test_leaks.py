"""Nothing grows: after thousands of requests of every kind as much is alive as after a few."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter

from tests.conftest import StartGateway
from tests.fakes import actions, bodies
from tests.fakes.bodies import chat, error
from tests.fakes.client import chat_body, request
from tests.fakes.conf import endpoint, llm_conf
from tests.fakes.gateway import RunningGateway
from tests.fakes.upstream import Action, Request, Upstream

#: Every kind of answer in turn.
KINDS = [
    chat("a"),
    bodies.chat_sse("a"),
    error(500),
    error(400),
    bodies.cut_sse("a"),
    bodies.error_sse(),
    actions.close(),
    actions.reset(b"HTTP/1.1 200 OK\r\n"),
]


def script(seen: Request) -> Action:
    """The answer that the request asks for."""
    return KINDS[int(seen.header("x-kind") or 0)]


async def use(running: RunningGateway, rounds: int) -> None:
    """Every kind of request so many times, some of them by clients that leave early."""
    for _ in range(rounds):
        async with running.client() as client:
            await client.send(request("POST", "/v1/x", {"x-kind": "1"}, chat_body(stream=True)))
            await client.read_until(b"data:")
            client.abort()
        for kind in range(len(KINDS)):
            await running.chat(headers={"x-kind": str(kind)}, stream=True)


def alive() -> Counter[str]:
    """How many objects of our own classes and of aiohttp's there are, by class, and how many tasks run."""
    gc.collect()
    kinds = (type(thing) for thing in gc.get_objects())
    found = Counter(kind.__qualname__ for kind in kinds if str(kind.__module__).startswith(("pixiu_py.", "aiohttp.")))
    found["running task"] = len(asyncio.all_tasks())
    return found


async def test_nothing_is_left_of_a_request(gateway: StartGateway) -> None:
    """Exchanges, responses, connections, tasks and timers are gone when their request is."""
    async with Upstream(script) as first, Upstream(script) as second:
        endpoints = [endpoint(up, retry=1, fallback=True) for up in (first, second)]
        running = await gateway(llm_conf(*endpoints))
        await use(running, 3)
        await asyncio.sleep(0.05)  # closing takes some turns of the loop
        before = alive()
        await use(running, 30)
        await asyncio.sleep(0.05)
        grown = {kind: (before[kind], count) for kind, count in alive().items() if count > before[kind] + 5}
        assert not grown
