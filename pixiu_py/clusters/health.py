"""Active health checks of one cluster.

``HealthState`` is the pure part: it turns single results into a verdict, with hysteresis. ``HealthChecker`` probes
every endpoint once per interval, a bounded number at the same time, and tells the cluster each verdict. A new endpoint
counts as healthy until probes say otherwise. Of several workers one is on duty, and the others take its verdicts.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING

import structlog

from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.clusters.probe import probe
from pixiu_py.config.model import HealthCheck
from pixiu_py.tasks import Tasks

if TYPE_CHECKING:
    from pixiu_py.clusters.cluster import Cluster
    from pixiu_py.filters.base import Context

log = structlog.get_logger("pixiu_py.health")

#: Probes of one cluster that run at the same time.
CONCURRENCY = 32
#: Seconds; an interval of 0 in the configuration must not make a busy loop.
SHORTEST_INTERVAL = 0.1

Probe = Callable[[Endpoint, HealthCheck, ssl.SSLContext | None], Awaitable[str]]


class HealthState:
    """The verdict about one endpoint.

    It changes after as many contrary results in a row as the threshold of its side says; one that agrees starts the
    count anew:

        healthy   ──(unhealthy_threshold bad in a row)──► unhealthy
        unhealthy ──(healthy_threshold good in a row)──► healthy
    """

    __slots__ = ("contrary", "healthy")

    def __init__(self, healthy: bool = True) -> None:
        self.healthy = healthy
        #: Results in a row that speak against the verdict.
        self.contrary = 0

    def probed(self, good: bool, check: HealthCheck) -> bool:
        """Take one result. True when the verdict has changed."""
        if good == self.healthy:
            self.contrary = 0
            return False
        self.contrary += 1
        if self.contrary < (check.healthy_threshold if good else check.unhealthy_threshold):
            return False
        self.healthy = good
        self.contrary = 0
        return True

    def __repr__(self) -> str:
        return f"<HealthState {'healthy' if self.healthy else 'unhealthy'} contrary={self.contrary}>"


class HealthChecker:
    """Probes the endpoints of a cluster for as long as it runs."""

    def __init__(
        self,
        cluster: Cluster,
        check: HealthCheck,
        context: Context,
        probe: Probe = probe,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._cluster = cluster
        self._check = check
        self._context = context
        self._probe = probe
        self._sleep = sleep
        self._tasks = Tasks(f"health of cluster {cluster.name}")
        self._states: dict[tuple[str, ...], HealthState] = {}
        self._tls: dict[bool, ssl.SSLContext] = {}

    def start(self) -> None:
        """Begin to probe, after the configured delay and a random part of one interval: not all gateways at once."""
        _ = self._tasks.spawn(self._run(), "rounds")

    async def close(self) -> None:
        """Stop; probes under way are given up."""
        await self._tasks.close()

    async def _run(self) -> None:
        interval = max(self._check.interval, SHORTEST_INTERVAL)
        await self._sleep(self._check.initial_delay_seconds + self._context.random.random() * interval)
        clock = self._context.clock
        if self._context.peers is not None:
            await self._context.peers.on_duty.wait()
        while True:
            started = clock()
            await self.round()
            await self._sleep(max(0.0, started + interval - clock()))

    async def round(self) -> None:
        """Probe every endpoint that the cluster has now, once."""
        endpoints = self._cluster.endpoints
        # The verdict of an endpoint stays with its key; those of endpoints that have left are dropped.
        self._states = {
            endpoint.key: self._states.get(endpoint.key) or HealthState(endpoint.healthy) for endpoint in endpoints
        }
        queue = iter(endpoints)
        workers = min(CONCURRENCY, len(endpoints))
        await asyncio.gather(*(self._tasks.spawn(self._work(queue), "probes") for _ in range(workers)))

    async def _work(self, queue: Iterator[Endpoint]) -> None:
        for endpoint in queue:
            self._judge(endpoint, await self._probe(endpoint, self._check, self._tls_for(endpoint)))

    def _judge(self, endpoint: Endpoint, reason: str) -> None:
        state = self._states[endpoint.key]
        if state.probed(not reason, self._check):
            tell = log.info if state.healthy else log.warning
            event = "endpoint is healthy" if state.healthy else "endpoint is unhealthy"
            tell(event, cluster=self._cluster.name, endpoint=endpoint.id, address=endpoint.address, reason=reason)
            if self._context.peers is not None:
                self._context.peers.agreement.judged(endpoint, state.healthy)
        self._cluster.set_health(endpoint, state.healthy)

    def _tls_for(self, endpoint: Endpoint) -> ssl.SSLContext | None:
        if self._check.protocol != "https":
            return None
        verify = endpoint.tls_verify
        if verify not in self._tls:
            context = self._tls[verify] = ssl.create_default_context()
            if not verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
        return self._tls[verify]
