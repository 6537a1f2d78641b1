"""A load balancer: one endpoint does all the work, the others stand by.

clusters:
  - name: llm
    lb_policy: FirstAvailable
"""

from __future__ import annotations

from pixiu_py.clusters.base import LoadBalancer
from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.http.exchange import Exchange
from pixiu_py.registry import Family, plugin


@plugin(Family.LOAD_BALANCER, "FirstAvailable")
class FirstAvailable(LoadBalancer):
    """Always the first endpoint, in config order, that may be asked now."""

    def pick(self, exchange: Exchange) -> Endpoint | None:
        """The first that is not cooling down; the very first when all are, because some try is better than none."""
        now = self.context.clock()
        for endpoint in self.endpoints:
            if endpoint.cooldown.available(now):
                return endpoint
        return self.endpoints[0] if self.endpoints else None
