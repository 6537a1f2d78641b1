"""A real vLLM on a real cache server of LMCache's: the coordinator's directory knows what it holds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from tests.conftest import StartGateway
from tests.engines.ask import Gateway, chat, conf_for, directly, session, until
from tests.engines.servers import Engine, cache_server, coordinator, llama_server, vllm


@pytest.fixture(scope="module")
def servers(logs: Path) -> Iterator[list[Engine]]:
    """Coordinator, vLLM, and a llama-server that hangs on no cache server."""
    started: list[Engine] = []
    try:
        directory = coordinator(logs)
        started.append(directory.start())
        cache, options = cache_server(logs, "cache-1", directory)
        started.append(cache.launch())
        deadline = time.monotonic() + 60
        while not orjson.loads(directory.get("/instances"))["instances"]:
            assert cache.running, cache.log.read_text()[-3000:]
            assert time.monotonic() < deadline
            time.sleep(0.2)
        engine = vllm(logs, "gpu", *options, environ={"LMCACHE_TRACK_USAGE": "false"})
        started.append(engine.launch())
        other = llama_server(logs, name="other")
        started.append(other.start())
        engine.wait()
        yield [directory, engine, other]
    finally:
        for server in reversed(started):
            server.stop()


async def test_a_prompt_is_found_in_the_directory(servers: list[Engine], gateway: StartGateway) -> None:
    """Under the path that the engine tells; the cache server's engine gets it, and what goes on from it."""
    directory, engine, other = servers
    conf = conf_for(
        [other, engine],
        index={"type": "lmcache-coordinator"},
        lmcache_endpoint=directory.url,
        vllm_endpoint=engine.url,
        instances={"cache-1": ["gpu"]},
    )
    async with session() as client:
        asked = Gateway(client, await gateway(conf))
        document = chat("directory")
        await directly(engine, document)

        async def known() -> bool:
            keys = await asyncio.to_thread(directory.get, "/directory/stats")
            return bool(orjson.loads(keys)["num_keys"] >= 4)

        await until("the cache server has told its chunks", known)
        on = {**document, "messages": [*document["messages"], {"role": "user", "content": "and now?"}]}
        answers = [await asked.ask(each) for each in (document, on)]
        print(f"\nlmcache-coordinator: {answers[1].route}")
        assert [(each.status, each.by, each.field("result")) for each in answers] == [(200, "gpu", "hit")] * 2
        assert all(each.matched("gpu") >= 1024 for each in answers)
        directory.kill()
        later = [await asked.ask(chat(f"later{number}")) for number in range(4)]
        assert [each.status for each in later] == [200] * 4
