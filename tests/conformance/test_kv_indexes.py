"""The contract of a KV-cache index, over each kind that is registered.

What an index knows it learns in its own way (from what is routed, from a controller, from events), so what it finds is
tested with each kind. Here is what all of them promise, with nobody there to ask.
"""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson
import pytest

from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.filters.ai.kvcache.config import KvCacheConfig
from pixiu_py.filters.ai.kvcache.index.base import IndexFailed, KvIndex, Matches
from pixiu_py.filters.ai.kvcache.prompt import Prompt, prompt_of
from pixiu_py.registry import Entry, Family
from tests.fakes.clusters import cluster_context, make_endpoints
from tests.fakes.conf import Block
from tests.fakes.kinds import decoded, of
from tests.fakes.upstream import refusing_port

ENTRIES = of(Family.KV_INDEX)
CHAT = "/v1/chat/completions"
ENDPOINTS = make_endpoints(3)


#: Kind → keys with which several of them can run beside each other.
KEYS: dict[str, Block] = {"kv-events": {"bind": "tcp://127.0.0.1:*"}}


def config_of(entry: Entry) -> Any:
    """The index's own block."""
    return decoded(entry, KEYS.get(entry.kind, {}))


def prompt(text: str, model: str = "m") -> Prompt:
    """A chat with one message."""
    document = {"model": model, "messages": [{"role": "user", "content": text}]}
    made = prompt_of(document, model, CHAT, orjson.dumps(document))
    assert made is not None
    return made


@pytest.fixture(params=ENTRIES, ids=lambda entry: entry.kind)
async def index(request: pytest.FixtureRequest) -> AsyncIterator[KvIndex]:
    """An index that has been started, whose services do not answer."""
    with refusing_port() as port:
        nobody = f"http://127.0.0.1:{port}"
        settings = KvCacheConfig(enabled=True, vllm_endpoint=nobody, lmcache_endpoint=nobody)
        made: KvIndex = request.param.cls(config_of(request.param), settings, cluster_context())
        await made.start()
        yield made
        await made.close()


async def ask(index: KvIndex, asked: Prompt, endpoints: Sequence[Endpoint] = ENDPOINTS) -> Matches:
    """What a filter gets; an index that cannot answer knows nothing."""
    try:
        found = index.lookup(asked, endpoints)
        return await found if inspect.isawaitable(found) else found
    except IndexFailed:
        return {}


async def test_nothing_is_known_at_the_beginning(index: KvIndex) -> None:
    """And nobody who holds nothing is named."""
    assert await ask(index, prompt("hello " * 1000)) == {}
    assert index.size == 0


async def test_what_is_found_is_possible(index: KvIndex) -> None:
    """Only endpoints that were asked about, and never more tokens than the prompt has."""
    long = prompt("hello " * 1000)
    for endpoint in ENDPOINTS:
        index.routed(long, endpoint)
    for asked in (long, prompt("hello " * 500), prompt("hello"), prompt("other " * 1000), prompt("hello " * 1000, "n")):
        found = await ask(index, asked, ENDPOINTS[:2])
        assert found.keys() <= {endpoint.id for endpoint in ENDPOINTS[:2]}
        assert all(0 < tokens <= asked.length for tokens in found.values())


async def test_what_is_forgotten_is_not_found(index: KvIndex) -> None:
    """Also an endpoint that was never heard of may be forgotten, and one twice."""
    asked = prompt("hello " * 1000)
    for endpoint in ENDPOINTS:
        index.routed(asked, endpoint)
    for endpoint_id in ("e1", "e1", "nobody"):
        index.forget(endpoint_id)
    assert "e1" not in await ask(index, asked)


async def test_odd_prompts_do_no_harm(index: KvIndex) -> None:
    """Whatever a client sends as its body."""
    bodies: list[object] = [
        {"messages": "text"},
        {"messages": [1, None, [], {"role": 5, "content": {"x": 1}}]},
        {"prompt": [[1, 2], "text", None]},
        {"prompt": [1] * 5000},
        {"input": [{"type": "function_call_output", "output": "x"}], "tools": {"not": "a list"}},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}]},
    ]
    for body in bodies:
        asked = prompt_of(body, "m", CHAT, orjson.dumps(body))
        assert asked is not None
        index.routed(asked, ENDPOINTS[0])
        await ask(index, asked)
        assert await ask(index, asked, ()) == {}


async def test_a_lookup_can_be_cancelled(index: KvIndex) -> None:
    """The client's leaving and the routing budget end it; the next one is answered like any other."""
    asked = prompt("hello " * 1000)
    found = index.lookup(asked, ENDPOINTS)
    if inspect.isawaitable(found):
        with pytest.raises((TimeoutError, IndexFailed)):
            await asyncio.wait_for(found, 0)
    await ask(index, asked)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.kind)
async def test_its_life(entry: Entry) -> None:
    """It is built without I/O, and may be closed twice, started or not; no task or socket is left."""
    settings = KvCacheConfig(enabled=True, lmcache_endpoint="http://127.0.0.1:1")
    for started in (True, False):
        context = cluster_context()
        before = len(os.listdir("/proc/self/fd"))
        made: KvIndex = entry.cls(config_of(entry), settings, context)
        assert len(os.listdir("/proc/self/fd")) == before
        if started:
            await made.start()
        await made.close()
        await made.close()
        assert len(context.tasks) == 0
        assert len(os.listdir("/proc/self/fd")) == before
