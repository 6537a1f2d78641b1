"""The ``kv-events`` index: what vLLM tells, in the tokens of its own tokenizer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.errors import ConfigError
from pixiu_py.filters.ai.kvcache.config import KvCacheConfig
from pixiu_py.filters.ai.kvcache.index import kv_events as module
from pixiu_py.filters.ai.kvcache.index.base import IndexFailed
from pixiu_py.filters.ai.kvcache.index.kv_events import KvEventsConfig, KvEventsIndex
from pixiu_py.registry import Family
from tests.fakes.clusters import cluster_context, endpoint_config, make_cluster
from tests.fakes.kinds import decoded, of
from tests.fakes.kv import prompt
from tests.fakes.kv_publisher import Publisher, message, stored
from tests.fakes.lmcache import FakeVllm, tokens_of

CHAT: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "a b c d e f g"}]}
TOKENS = tokens_of(CHAT)


@asynccontextmanager
async def listening(
    **settings: Any,
) -> AsyncIterator[tuple[KvEventsIndex, FakeVllm, tuple[Endpoint, ...]]]:
    """The index, started, and two endpoints of which one is an engine that can be asked for tokens."""
    async with FakeVllm("inst-a") as engine:
        index = KvEventsIndex(
            KvEventsConfig(bind="tcp://127.0.0.1:*"), KvCacheConfig(enabled=True, **settings), cluster_context()
        )
        await index.start()
        names = ("inst-a", "inst-b")
        endpoints = make_cluster(*(endpoint_config(name, "127.0.0.1", engine.port) for name in names)).endpoints
        try:
            yield index, engine, endpoints
        finally:
            await index.close()


async def until_blocks(index: KvEventsIndex, count: int) -> None:
    """Wait until the index knows so many blocks."""
    async with asyncio.timeout(5):
        while index.size != count:
            await asyncio.sleep(0.005)


async def test_a_prompt_is_found_at_the_engine_that_holds_it() -> None:
    """In blocks of the engine's own size; longer prompts find their prefix."""
    async with listening() as (index, engine, endpoints), Publisher(index.subscriber.address) as publisher:
        assert await index.lookup(prompt(CHAT), endpoints) == {}
        assert engine.requests == [], "an empty index needs no tokens"
        await publisher.publish(0, message(1.0, stored([1, 2], TOKENS[:8])))
        await until_blocks(index, 2)
        assert await index.lookup(prompt(CHAT), endpoints) == {"inst-a": 8}
        more = {**CHAT, "messages": [*CHAT["messages"], {"role": "user", "content": "more"}]}
        assert await index.lookup(prompt(more), endpoints) == {"inst-a": 8}
        assert await index.lookup(prompt({"model": "tiny", "prompt": ["a", "b"]}), endpoints) == {}


async def test_instances_may_have_other_names() -> None:
    """The map says which endpoint an engine is."""
    async with listening(instances={"inst-a": ["inst-b"]}) as (index, _, endpoints):
        async with Publisher(index.subscriber.address) as publisher:
            await publisher.publish(0, message(1.0, stored([1, 2], TOKENS[:8])))
            await until_blocks(index, 2)
            assert await index.lookup(prompt(CHAT), endpoints) == {"inst-b": 8}


async def test_forgetting_and_hearing_again() -> None:
    """An endpoint that could not be reached holds nothing, until its engine is heard from its beginning."""
    async with listening() as (index, _, endpoints), Publisher(index.subscriber.address) as publisher:
        await publisher.publish(0, message(1.0, stored([1, 2], TOKENS[:8])))
        await until_blocks(index, 2)
        index.forget("inst-b")
        assert index.size == 2
        index.forget("inst-a")
        assert (index.size, await index.lookup(prompt(CHAT), endpoints)) == (0, {})
        await publisher.publish(0, message(9.0, stored([1], TOKENS[:4])))
        await until_blocks(index, 1)
        assert await index.lookup(prompt(CHAT), endpoints) == {"inst-a": 4}


async def test_no_tokens_no_answer() -> None:
    """A tokenizer that fails is a reason, not a miss."""
    async with listening() as (index, engine, endpoints), Publisher(index.subscriber.address) as publisher:
        await publisher.publish(0, message(1.0, stored([1, 2], TOKENS[:8])))
        await until_blocks(index, 2)
        engine.tokenizer = "empty"
        with pytest.raises(IndexFailed):
            await index.lookup(prompt(CHAT), endpoints)


def test_without_pyzmq_the_gateway_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """And says what to install, with the place in the file."""
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"needs pyzmq: pip install 'pixiu-py\[kv-events\]'"):
        KvEventsConfig()


@pytest.mark.parametrize("keys", [{"bind": "127.0.0.1:5557"}, {"replay": {"a": "http://x"}}])
def test_addresses_are_zeromq_addresses(keys: dict[str, Any]) -> None:
    """Not found out at the first gap."""
    entry = next(entry for entry in of(Family.KV_INDEX) if entry.kind == "kv-events")
    with pytest.raises((AssertionError, ConfigError), match="no ZeroMQ address"):
        decoded(entry, keys)
