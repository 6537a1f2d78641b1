"""A router without a gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pixiu_py.clusters.manager import ClusterManager
from pixiu_py.filters.base import Context
from pixiu_py.filters.llm.router.choice import Choice
from pixiu_py.filters.llm.router.filter import LlmRouter
from pixiu_py.http.exchange import Exchange
from pixiu_py.registry import Family
from tests.fakes.exchange import make_context
from tests.fakes.kinds import REGISTRY, decoded

PREFERENCE: dict[str, Any] = {"name": "code", "description": "program code", "models": ["big", "small"]}
#: One route, taken by requests with the word code.
CODE: dict[str, Any] = {
    "routing_preferences": [PREFERENCE],
    "deciders": [{"type": "rules", "rules": [{"route": "code", "keywords": ["code"]}]}],
}


@asynccontextmanager
async def started(config: dict[str, Any], context: Context | None = None) -> AsyncIterator[LlmRouter]:
    """A router with this block, started."""
    entry = REGISTRY.find(Family.HTTP_FILTER, "dgp.filter.llm.router")
    assert entry is not None
    context = context or make_context()
    context.clusters = context.clusters or ClusterManager()
    context.registry = REGISTRY
    router = LlmRouter(decoded(entry, config), context)
    try:
        await router.start()
        yield router
    finally:
        await router.close()


async def choose(config: dict[str, Any], exchange: Exchange) -> Choice:
    """What such a router chooses for one exchange."""
    async with started(config) as router:
        return await router.chooser.choose(exchange)
