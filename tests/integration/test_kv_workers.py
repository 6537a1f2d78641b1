"""Rule: every worker of a machine routes by the engines' KV events, though only one of them can listen; real processes."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import orjson

from tests.fakes.client import Client
from tests.fakes.conf import endpoint, http_filter, llm_conf
from tests.fakes.kv_publisher import Publisher, message, stored
from tests.fakes.lmcache import FakeVllm, tokens_of, words
from tests.fakes.process import find_free_port, workers_of
from tests.integration.test_workers_agree import Machine, machine


def chat(seed: str) -> bytes:
    """A chat of some 250 tokens."""
    return orjson.dumps({"model": "tiny", "messages": [{"role": "user", "content": words(seed, 250)}]})


async def matched(client: Client, body: bytes) -> bytes:
    """What a worker knows of endpoint b for this prompt."""
    reply = await client.request("POST", "/v1/chat/completions", {"Content-Type": "application/json"}, body)
    assert reply.status == 200
    route = reply.header("x-pixiu-route") or b""
    return route.partition(b"b(matched=")[2].partition(b" ")[0]


class Teller:
    """Publishes the blocks of prompts as engine b, again and again, until both workers know."""

    def __init__(self, engine: Publisher, running: Machine) -> None:
        self._engine = engine
        self._running = running
        self._number = 0

    async def tell(self, seed: str) -> None:
        """Each message stores the prompt's blocks; the one that is heard first need not be the first."""
        body = chat(seed)
        tokens = tokens_of(orjson.loads(body))[:224]
        async with asyncio.timeout(20):
            while True:
                number, self._number = self._number, self._number + 1
                hashes = [abs(hash((seed, number, block))) for block in range(14)]
                await self._engine.publish(number, message(float(number), stored(hashes, tokens)))
                await asyncio.sleep(0.05)  # it passes through threads and processes
                if [await matched(client, body) for client in await self._running.connect()] == [b"224"] * 2:
                    return


async def test_all_workers_know_and_another_takes_over(tmp_path: Path) -> None:
    """Also after the worker that listens has died: the next one does, and what was lost shows in the numbers."""
    address = f"tcp://127.0.0.1:{find_free_port()}"
    kvcache = http_filter(
        "dgp.filter.ai.kvcache",
        enabled=True,
        route_header="always",
        lookup_routing_timeout="5s",
        load={"interval": "0"},
        index={"type": "kv-events", "bind": address},
    )
    async with FakeVllm("a") as a, FakeVllm("b") as b:
        text = llm_conf(endpoint(a, "a"), endpoint(b, "b"), filters=[kvcache])
        async with machine(tmp_path, text) as running, Publisher(address, "kv@b@tiny") as engine:
            teller = Teller(engine, running)
            await teller.tell("first")
            os.kill(workers_of(running.process.pid)[0], signal.SIGKILL)
            await teller.tell("second")
    assert "Traceback" not in running.process.printed
