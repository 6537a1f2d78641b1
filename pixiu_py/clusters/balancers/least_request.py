"""LeastRequest: the less busy of two."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pixiu_py.clusters.base import LoadBalancer
from pixiu_py.registry import Family, plugin

if TYPE_CHECKING:
    from pixiu_py.clusters.endpoint import Endpoint
    from pixiu_py.http.exchange import Exchange


@plugin(Family.LOAD_BALANCER, "LeastRequest")
class LeastRequest(LoadBalancer):
    """Of two endpoints drawn by chance, the one with fewer requests in flight.

    Two draws come close to a full search (Mitzenmacher, "The power of two choices", 2001), cost the same for any number
    of endpoints, and do not send everybody to the one endpoint that has just become idle.
    """

    def pick(self, exchange: Exchange) -> Endpoint | None:
        """The less busy of two different endpoints; None when there is no endpoint."""
        endpoints = self.endpoints
        count = len(endpoints)
        if count < 2:
            return endpoints[0] if endpoints else None
        random = self.context.random.random
        first = int(random() * count)
        second = int(random() * (count - 1))
        second += second >= first  # any but the first
        one, other = endpoints[first], endpoints[second]
        return other if other.in_flight < one.in_flight else one
