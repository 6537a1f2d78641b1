"""RoundRobin: one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pixiu_py.clusters.base import LoadBalancer
from pixiu_py.registry import Family, plugin

if TYPE_CHECKING:
    from pixiu_py.clusters.endpoint import Endpoint
    from pixiu_py.config.model import Cluster as ClusterConfig
    from pixiu_py.filters.base import Context
    from pixiu_py.http.exchange import Exchange


@plugin(Family.LOAD_BALANCER, "RoundRobin")
class RoundRobin(LoadBalancer):
    """Each endpoint in turn. A change of the endpoints does not send the turn back to the first."""

    def __init__(self, config: ClusterConfig, context: Context) -> None:
        super().__init__(config, context)
        self._next = 0

    def pick(self, exchange: Exchange) -> Endpoint | None:
        """The next endpoint; None when there is none."""
        endpoints = self.endpoints
        if not endpoints:
            return None
        position = self._next % len(endpoints)
        self._next = position + 1
        return endpoints[position]
