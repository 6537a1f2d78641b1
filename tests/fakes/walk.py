"""A cluster of scripted endpoints and the LLM proxy before them, without a listener: for tests of the fallback loop."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import Any

from pixiu_py.clusters.cluster import Cluster
from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.config.types import RetryPolicyRef
from pixiu_py.filters.llm.proxy.filter import LlmProxy, LlmProxyConfig
from pixiu_py.filters.llm.proxy.walk import PREFERRED_ENDPOINT
from pixiu_py.http.exchange import Exchange, Response
from pixiu_py.upstream.retry import RetryConfig
from tests.fakes.clusters import cluster_context, endpoint_config, make_cluster
from tests.fakes.exchange import collect, make_exchange
from tests.fakes.peer import PATIENCE
from tests.fakes.upstream import Script, Upstream

COOLDOWN = 10.0


class Clock:
    """Time that stands still until it is told to move."""

    def __init__(self) -> None:
        self.now = time.monotonic()

    def __call__(self) -> float:
        return self.now


class Case:
    """A cluster of scripted endpoints called a, b, c, …, and the proxy before them."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.upstreams: list[Upstream] = []
        self._stack = AsyncExitStack()
        self.cluster: Cluster
        self.proxy: LlmProxy

    async def set_up(self, *scripts: Script | int, config: dict[str, Any] | None = None, **meta: Any) -> Case:
        """One endpoint for each script; ``meta`` may be a value for all, or a list with a value for each."""
        configs = []
        for position, script in enumerate(scripts):
            own = {key: value[position] if isinstance(value, list) else value for key, value in meta.items()}
            times = own.pop("times", 0)
            policy = RetryPolicyRef(
                name="CountBased", config=RetryConfig(times=times, max_retry_after=own.pop("cap", 30.0))
            )
            own = {"fallback": True, "health_check_interval": int(COOLDOWN * 1000), "retry_policy": policy, **own}
            configs.append(endpoint_config("abcdef"[position], "127.0.0.1", await self._port(script), **own))
        context = cluster_context(clock=self.clock)
        self.cluster = make_cluster(*configs, context=context)
        self.proxy = LlmProxy(LlmProxyConfig(**(config or {})), context)
        return self

    async def _port(self, script: Script | int) -> int:
        if isinstance(script, int):
            return script
        upstream = await self._stack.enter_async_context(Upstream(script))
        self.upstreams.append(upstream)
        return upstream.port

    async def close(self) -> None:
        await self.proxy.close()
        await self._stack.aclose()

    def endpoint(self, name: str) -> Endpoint:
        found = self.cluster.find(name)
        assert found is not None
        return found

    def exchange(self, start_at: str = "a", **document: Any) -> Exchange:
        """A chat request that begins with this endpoint."""
        exchange = make_exchange(
            "POST", "/v1/chat/completions", {"Authorization": "Bearer mine"}, json=document or {"a": 1}
        )
        exchange.started = self.clock()
        exchange.cluster = self.cluster
        if start_at:
            exchange.params[PREFERRED_ENDPOINT] = start_at
        return exchange

    async def ask(self, exchange: Exchange) -> Response:
        async with asyncio.timeout(PATIENCE):
            return await self.proxy.decode(exchange)

    async def finish(self, exchange: Exchange, response: Response) -> bytes:
        """The body, and the end of the exchange."""
        async with asyncio.timeout(PATIENCE):
            body = await collect(response.body)
        self.proxy.done(exchange)
        return body

    async def whole(self, exchange: Exchange) -> bytes:
        """A whole exchange."""
        return await self.finish(exchange, await self.ask(exchange))

    async def walk(self, start_at: str = "a", **document: Any) -> tuple[int, str]:
        """One request: its status, and the endpoints that were tried for it, in order."""
        exchange = self.exchange(start_at, **document)
        response = await self.ask(exchange)
        await self.finish(exchange, response)
        assert [endpoint.in_flight for endpoint in self.cluster.endpoints] == [0] * len(self.cluster.endpoints)
        return response.status, "".join(attempt.endpoint_id for attempt in exchange.attempts)
