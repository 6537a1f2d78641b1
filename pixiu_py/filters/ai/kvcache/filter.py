"""The plugin: asks the index which endpoint holds how much of a prompt, and ranks the endpoints by the score.

It decides nothing about whether a request is answered. Whatever goes wrong here (no prompt, no index, no time), the
cluster's balancer chooses as if this filter were not there.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import structlog

from pixiu_py.errors import DownstreamError, StartError
from pixiu_py.filters.ai.kvcache.config import KvCacheConfig
from pixiu_py.filters.ai.kvcache.index.base import IndexFailed, KvIndex, Matches
from pixiu_py.filters.ai.kvcache.load import Board
from pixiu_py.filters.ai.kvcache.meters import Meters
from pixiu_py.filters.ai.kvcache.poller import Poller
from pixiu_py.filters.ai.kvcache.prompt import Prompt, prompt_of
from pixiu_py.filters.ai.kvcache.routing import Routing, Scorer
from pixiu_py.filters.base import Context, HttpFilter
from pixiu_py.filters.llm.model_name import named_model
from pixiu_py.filters.llm.plan import PLAN, Plan, plan_of
from pixiu_py.registry import Family, plugin
from pixiu_py.upstream.client import Client

if TYPE_CHECKING:
    from pixiu_py.clusters.cluster import Cluster
    from pixiu_py.clusters.endpoint import Endpoint
    from pixiu_py.http.exchange import Exchange

log = structlog.get_logger("pixiu_py.filters.kvcache")

#: Key in ``exchange.params`` under which a filter may name the endpoint to begin with.
PREFERRED_ENDPOINT = "llm_preferred_endpoint_id"
ROUTE_HEADER = "x-pixiu-route"
_ROUTING = "kvcache.routing"
_NOTHING: Mapping[str, int] = MappingProxyType({})


@plugin(Family.HTTP_FILTER, "dgp.filter.ai.kvcache")
class KvCache(HttpFilter):
    """Sends a prompt to the endpoint whose cache holds its beginning, unless that is too busy."""

    Config: ClassVar[type[KvCacheConfig]] = KvCacheConfig
    config: KvCacheConfig

    def __init__(self, config: KvCacheConfig, context: Context) -> None:
        super().__init__(config, context)
        self._clock = context.clock
        board = Board(config.load.max_age)
        self._client = Client()
        self._poller = Poller(config.load, board, self._client, context.clock)
        #: None when the filter is switched off.
        self._scorer = Scorer(config, board, context.clock, self._make_index()) if config.enabled else None
        self._asks = False
        if self._scorer is not None:
            index = self._scorer.index
            index.board = board if config.load.interval else None
            self._asks = inspect.iscoroutinefunction(index.lookup)
        self._meters = Meters(context.metrics, config.kind)
        #: Writes a debug line; bound at start, so that a line that is not written costs next to nothing.
        self._debug: Callable[..., Any] = _silent

    def _make_index(self) -> KvIndex:
        kind = self.config.kind
        entry = self.context.registry.find(Family.KV_INDEX, kind)
        if entry is None:
            raise StartError(f"dgp.filter.ai.kvcache: no index of the kind {kind!r} is known")
        own = self.config.index.config if self.config.index is not None else entry.cls.Config()
        index: KvIndex = entry.cls(own, self.config, self.context)
        return index

    async def start(self) -> None:
        """Start the index, and the polling of the engines' load."""
        if self._scorer is None:
            return
        self._debug = log.bind().debug
        await self._scorer.index.start()
        if self.config.load.interval:
            self._poller.start()
        self._meters.watch(self._scorer.index)

    async def close(self) -> None:
        """Stop both."""
        self._meters.close()
        await self._poller.close()
        await self._client.close()
        if self._scorer is not None:
            await self._scorer.index.close()

    # --- the request -----------------------------------------------------------------------------------------------

    async def decode(self, exchange: Exchange) -> None:
        """Find out who holds the prompt, and let the proxy try the endpoints in the order of the score."""
        scorer = self._scorer
        if scorer is None:
            return
        cluster = self._cluster(exchange)
        if cluster is None or len(cluster.endpoints) < 2:
            return
        document = await self._document(exchange)
        plan: Plan | None = exchange.params.get(PLAN)
        model = _model(document, plan) or self.config.default_model
        request = exchange.request
        prompt = prompt_of(document, model, request.path, request.body.peek() or b"")
        if prompt is None:
            self._meters.count("no_prompt")
            return
        if self.config.load.interval:
            self._poller.watch(cluster)
        endpoints = cluster.candidates(model if cluster.restricts_models else "")
        started = self._clock()
        matches, result = await self._lookup(scorer.index, prompt, endpoints)
        routing = Routing(scorer, prompt, matches, result)
        exchange.params[_ROUTING] = routing
        if result in ("hit", "miss") or self.config.spill.endpoints:
            plan = plan_of(exchange)
            plan.rank = routing.rank
            first = routing.place(endpoints)
            if first is not None and not plan.models and result == "hit":
                exchange.params.setdefault(PREFERRED_ENDPOINT, first.id)
        self._meters.looked_up(result, max(matches.values(), default=0), self._clock() - started)

    async def _lookup(self, index: KvIndex, prompt: Prompt, endpoints: tuple[Endpoint, ...]) -> tuple[Matches, str]:
        """What the index knows, and how it went: ``hit``, ``miss`` or the reason of a fault."""
        try:
            if self._asks:
                async with asyncio.timeout(self.config.routing_budget):
                    matches = await index.lookup(prompt, endpoints)  # type: ignore[misc]
            else:
                matches = index.lookup(prompt, endpoints)
        except TimeoutError:
            return _NOTHING, "timeout"
        except IndexFailed as error:
            self._debug("no lookup", index=self.config.kind, why=str(error))
            return _NOTHING, error.reason
        except Exception as error:
            log.error("the index failed", index=self.config.kind, exc_info=error)
            return _NOTHING, "error"
        least = self.config.score.min_match
        return matches, "hit" if any(tokens >= least for tokens in matches.values()) else "miss"

    def _cluster(self, exchange: Exchange) -> Cluster | None:
        """The exchange's cluster; None also where nothing can be routed."""
        if exchange.request.method != "POST" or not exchange.request.body.exists:
            return None
        return exchange.cluster

    async def _document(self, exchange: Exchange) -> object:
        """The parsed body; None when it is no JSON or larger than is looked at. Raises what would end the request anyway."""
        request = exchange.request
        if (request.headers.get("content-type") or "").startswith("multipart/"):
            return None
        try:
            return await request.json(self.config.max_body_size)
        except DownstreamError:
            if request.body.peek() is None and request.body.received:
                raise
            return None

    # --- the answer ------------------------------------------------------------------------------------------------

    def encode(self, exchange: Exchange) -> None:
        """Learn from a good answer where the prompt is cached now."""
        routing: Routing | None = exchange.params.get(_ROUTING)
        response = exchange.response
        if routing is None or response is None:
            return
        endpoint = exchange.endpoint
        if endpoint is not None and response.status < 300:
            routing.answered(endpoint, exchange.attempts[-1].model)
        else:
            routing.answered(None)
        if self._tells(exchange):
            response.headers.set(ROUTE_HEADER, routing.explained(self.config.kind, exchange))
        self._debug(
            "routed", index=self.config.kind, endpoint=endpoint and endpoint.id, result=routing.result, why=routing
        )

    def _tells(self, exchange: Exchange) -> bool:
        """Whether the client is told why."""
        mode = self.config.route_header
        return mode == "always" or (mode == "asked" and ROUTE_HEADER in exchange.request.headers)

    def done(self, exchange: Exchange) -> None:
        """Close the accounts; an endpoint that cannot be reached has lost its cache."""
        routing: Routing | None = exchange.params.get(_ROUTING)
        if routing is None or self._scorer is None:
            return
        routing.over()
        for attempt in exchange.attempts:
            if attempt.error == "connect_failed":
                self._scorer.index.forget(attempt.endpoint_id)


def _silent(event: str, **fields: object) -> None:
    """Before the start nothing is written."""


def _model(document: object, plan: Plan | None) -> str:
    """The model that will be asked: the first that is planned, else the one that the body names."""
    if plan is not None and plan.models:
        return plan.models[0]
    return named_model(document)
