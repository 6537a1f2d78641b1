"""WeightRandom: by chance, in proportion to the weights."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from pixiu_py.clusters.base import LoadBalancer
from pixiu_py.registry import Family, plugin

if TYPE_CHECKING:
    from pixiu_py.clusters.endpoint import Endpoint
    from pixiu_py.config.model import Cluster as ClusterConfig
    from pixiu_py.filters.base import Context
    from pixiu_py.http.exchange import Exchange


@plugin(Family.LOAD_BALANCER, "WeightRandom")
class WeightRandom(LoadBalancer):
    """As likely as ``meta.weight`` says; weight 0, the default, gets nothing unless all have it: then all are alike."""

    def __init__(self, config: ClusterConfig, context: Context) -> None:
        super().__init__(config, context)
        self._bounds: list[int] = []

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """Add the weights up."""
        super().update(endpoints)
        weights = [endpoint.weight for endpoint in self.endpoints]
        self._bounds = list(accumulate(weights if any(weights) else [1] * len(weights)))

    def pick(self, exchange: Exchange) -> Endpoint | None:
        """A weighted choice; None when there is no endpoint."""
        bounds = self._bounds
        if not bounds:
            return None
        return self.endpoints[bisect_right(bounds, int(self.context.random.random() * bounds[-1]))]
