"""Asks engines for their metrics, in the background and at an interval, and puts what they say on the board.

Which endpoints: those of the clusters that requests were routed to, without the hosted providers, which show no metrics.
An engine that does not answer loses its reading by age; asking it costs one call per interval, within a time limit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated
from weakref import WeakSet

import structlog
from msgspec import Meta

from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.clusters.providers import is_engine
from pixiu_py.config.types import Duration, Model, doc
from pixiu_py.filters.ai.kvcache.load import Board
from pixiu_py.filters.ai.kvcache.scrape import load_of
from pixiu_py.tasks import Tasks
from pixiu_py.upstream.client import CallFailed, Client, Service

if TYPE_CHECKING:
    from pixiu_py.clusters.cluster import Cluster

log = structlog.get_logger("pixiu_py.filters.kvcache")

#: Engines that are asked at the same time.
CONCURRENCY = 16


class LoadConfig(Model, frozen=True):
    """How the load of engines is measured."""

    interval: Annotated[Duration, Meta(ge=0, description="Time between two readings; 0: none is taken.")] = 1.0
    timeout: Annotated[Duration, Meta(gt=0, description="How long an engine may take to tell.")] = 0.5
    max_age: Annotated[Duration, Meta(gt=0, description="A reading older than this is ignored.")] = 5.0
    path: Annotated[str, doc("Path of an engine's metrics.")] = "/metrics"


class Poller:
    """Polls for as long as it runs."""

    def __init__(self, config: LoadConfig, board: Board, client: Client, clock: Callable[[], float]) -> None:
        self._config = config
        self._board = board
        self._client = client
        self._clock = clock
        self._clusters: WeakSet[Cluster] = WeakSet()
        self._tasks = Tasks("kvcache load")
        self._awake = asyncio.Event()
        #: Endpoints whose metrics have told nothing so far: said once each.
        self._silent: WeakSet[Endpoint] = WeakSet()

    def start(self) -> None:
        """Begin, as soon as there is a cluster to watch."""
        if self._config.interval:
            _ = self._tasks.spawn(self._run(), "polling")

    async def close(self) -> None:
        """Ask no more."""
        await self._tasks.close()

    def watch(self, cluster: Cluster) -> None:
        """Poll this cluster's engines, too, from now on. Cheap when it is watched already."""
        if cluster not in self._clusters:
            self._clusters.add(cluster)
            self._awake.set()

    async def _run(self) -> None:
        await self._awake.wait()
        while True:
            started = self._clock()
            await self.round()
            await asyncio.sleep(max(self._config.interval - (self._clock() - started), 0.01))

    async def round(self) -> None:
        """Ask every engine once."""
        endpoints = [endpoint for cluster in self._clusters for endpoint in cluster.endpoints if may_ask(endpoint)]
        self._board.keep(endpoints)
        queue = iter(endpoints)

        async def work() -> None:
            for endpoint in queue:
                await self._ask(endpoint)

        await asyncio.gather(*(self._tasks.spawn(work(), "asking") for _ in range(min(CONCURRENCY, len(endpoints)))))

    async def _ask(self, endpoint: Endpoint) -> None:
        try:
            body = await self._client.get(Service(endpoint), self._config.path, self._config.timeout)
        except CallFailed as error:
            self._tell(endpoint, str(error))
            return
        load = load_of(body.decode("utf-8", "replace"), self._clock())
        if load is None:
            self._tell(endpoint, "the metrics are no engine's")
            return
        self._silent.discard(endpoint)
        self._board.put(endpoint, load)

    def _tell(self, endpoint: Endpoint, why: str) -> None:
        if endpoint not in self._silent:
            self._silent.add(endpoint)
            log.warning("no load from this endpoint", endpoint=endpoint.id, address=endpoint.address, why=why)


def may_ask(endpoint: Endpoint) -> bool:
    """True for an engine of one's own; a hosted provider shows neither metrics nor a tokenizer.

    A name without a port is mostly a public API, as for health probes.
    """
    return endpoint.port != 0 and is_engine(endpoint.provider)
