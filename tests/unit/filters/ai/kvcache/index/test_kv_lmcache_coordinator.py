"""The ``lmcache-coordinator`` index against the coordinator's recorded answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.filters.ai.kvcache.config import CacheStrategyConfig, KvCacheConfig
from pixiu_py.filters.ai.kvcache.index.base import IndexFailed
from pixiu_py.filters.ai.kvcache.index.lmcache_coordinator import CoordinatorConfig, CoordinatorIndex
from pixiu_py.filters.ai.kvcache.load import Board, Load
from pixiu_py.filters.ai.kvcache.prompt import Prompt
from tests.fakes import engine_data
from tests.fakes.actions import respond
from tests.fakes.clusters import cluster_context, endpoint_config, make_cluster
from tests.fakes.kv import prompt
from tests.fakes.lmcache import FakeVllm
from tests.fakes.upstream import Action, Request, Upstream, refusing_port

RECORDED = engine_data.exchanges("lmcache_coordinator")
#: The recorded prompt, as a client may send it: tokens.
TOKENS = {"model": "tiny", "prompt": list(range(2000, 3201))}
PLACES = {"mp-a": ["a", "b"]}


class Coordinator(Upstream):
    """Answers as recorded: what path, tokens and model name say."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.stored = True

    def asked(self, path: str) -> list[Any]:
        """The bodies of the requests to a path."""
        return [orjson.loads(request.body) for request in self.requests if request.target == path]

    def _answer(self, request: Request) -> Action:
        body = orjson.loads(request.body)
        if request.target == "/directory/lookup":
            known = body["model_name"] == "/models/tiny"
            id_ = "lookup_hit" if self.stored and known else "lookup_after_delete"
            return respond(body=orjson.dumps(RECORDED[id_]["response"]["body"]))
        id_ = {"/cache/pins": "pins_post", "/cache/delete": "delete_l1"}[request.target]
        return respond(body=orjson.dumps(RECORDED[id_]["response"]["body"]))


@asynccontextmanager
async def setup(
    config: CoordinatorConfig | None = None, **settings: Any
) -> AsyncIterator[tuple[CoordinatorIndex, Coordinator, tuple[Endpoint, ...], FakeVllm]]:
    """The index, started, with two engines that hang on one cache server."""
    async with Coordinator() as coordinator, FakeVllm("a") as engine:
        settings = {"lmcache_endpoint": f"http://{coordinator.address}", "instances": PLACES, **settings}
        index = CoordinatorIndex(config or CoordinatorConfig(), KvCacheConfig(**settings), cluster_context())
        await index.start()
        configs = [endpoint_config(name, "127.0.0.1", engine.port) for name in ("a", "b")]
        try:
            yield index, coordinator, make_cluster(*configs).endpoints, engine
        finally:
            await index.close()


async def settled(index: CoordinatorIndex) -> None:
    """The background has nothing left to do."""
    tasks = index._background._tasks._tasks
    while tasks:
        await next(iter(tasks))


async def test_engines_of_a_cache_server_share_what_it_holds() -> None:
    """Under the path that an engine tells; it is asked once."""
    async with setup() as (index, coordinator, endpoints, engine):
        for _ in range(2):
            assert await index.lookup(prompt(TOKENS), endpoints) == {"a": 1024, "b": 1024}
        assert [body["model_name"] for body in coordinator.asked("/directory/lookup")] == ["/models/tiny"] * 2
        assert [request.target for request in engine.requests] == ["/v1/models"]


async def test_configured_paths() -> None:
    """Then no engine is asked; a wrong one finds nothing."""
    async with setup(CoordinatorConfig(models={"tiny": "/wrong"})) as (index, _, endpoints, engine):
        assert await index.lookup(prompt(TOKENS), endpoints) == {}
        assert engine.requests == []


async def test_engines_that_do_not_tell_their_path() -> None:
    """llama-server lists models without it, and one may be gone: the next one is asked."""
    silent = respond(body=b'{"data":[{"id":"tiny"}]}')
    async with setup() as (index, _, endpoints, _), Upstream(silent) as other:
        with refusing_port() as gone:
            before = [endpoint_config("gone", "127.0.0.1", gone), endpoint_config("llama", "127.0.0.1", other.port)]
            all_ = (*make_cluster(*before).endpoints, *endpoints)
            assert await index.lookup(prompt(TOKENS), all_) == {"a": 1024, "b": 1024}


async def test_salts_are_passed_on() -> None:
    """Another client's cache is not this one's."""
    async with setup() as (index, coordinator, endpoints, _):
        await index.lookup(prompt({**TOKENS, "cache_salt": "s"}), endpoints)
        assert coordinator.asked("/directory/lookup")[0]["cache_salt"] == "s"


async def test_a_model_that_no_engine_knows() -> None:
    """Nothing to ask for; the request goes on."""
    async with setup() as (index, coordinator, endpoints, _):
        with pytest.raises(IndexFailed, match="path of 'other'"):
            await index.lookup(prompt({**TOKENS, "model": "other"}), endpoints)
        with pytest.raises(IndexFailed, match="connect"):
            await index.lookup(prompt(TOKENS), ())
        assert coordinator.requests == []


async def test_what_is_hot_is_pinned() -> None:
    """By its tokens and its model's path."""
    wanted = CacheStrategyConfig(enable_pinning=True, hot_content_threshold=1)
    async with setup(cache_strategy=wanted) as (index, coordinator, endpoints, _):
        await index.lookup(prompt(TOKENS), endpoints)
        index.routed(prompt(TOKENS), endpoints[0])
        await settled(index)
        (pin,) = coordinator.asked("/cache/pins")
        assert (pin["model_name"], pin["token_ids"]) == ("/models/tiny", TOKENS["prompt"])


async def test_eviction_takes_the_prompt_that_was_unused_longest() -> None:
    """Not the one that was just asked for, as long as there is another."""
    wanted = CacheStrategyConfig(enable_eviction=True, memory_threshold=0.5)
    async with setup(cache_strategy=wanted) as (index, coordinator, endpoints, _):
        board = index.board = Board(5.0)
        board.put(endpoints[0], Load(1, 0, 0.9))

        async def use(asked: Prompt) -> None:
            await index.lookup(asked, endpoints)
            index.routed(asked, endpoints[0])
            await settled(index)

        await use(prompt(TOKENS))
        assert coordinator.asked("/cache/delete") == []
        await use(prompt({**TOKENS, "prompt": list(range(1500))}))
        (delete,) = coordinator.asked("/cache/delete")
        assert (delete["instance_id"], delete["token_ids"]) == ("mp-a", TOKENS["prompt"])
        index._recent.clear()  # as others may have done that evict at the same time
        assert await index._evict(prompt(TOKENS), endpoints[0]) is None
