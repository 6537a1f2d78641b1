"""Rand: any endpoint, by chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pixiu_py.clusters.base import LoadBalancer
from pixiu_py.registry import Family, plugin

if TYPE_CHECKING:
    from pixiu_py.clusters.endpoint import Endpoint
    from pixiu_py.http.exchange import Exchange


@plugin(Family.LOAD_BALANCER, "Rand", aliases=("lb",))
class Rand(LoadBalancer):
    """Every endpoint is as likely as any other. ``lb`` is what many Pixiu samples say, and get this for."""

    def pick(self, exchange: Exchange) -> Endpoint | None:
        """A uniform choice; None when there is no endpoint."""
        endpoints = self.endpoints
        return endpoints[int(self.context.random.random() * len(endpoints))] if endpoints else None
