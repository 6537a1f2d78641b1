"""Static clusters: the addresses are those of the configuration."""

from __future__ import annotations

from pixiu_py.clusters.base import Discovery
from pixiu_py.clusters.location import locate
from pixiu_py.registry import Family, plugin


@plugin(Family.CLUSTER, "Static", aliases=("EDS",))
class Static(Discovery):
    """The endpoints as configured; a host name is resolved whenever a connection is opened.

    ``EDS`` is what Pixiu calls a cluster without a type, and what it does with one is this.
    """

    async def start(self) -> None:
        """Publish the configured addresses."""
        places = [locate(endpoint) for endpoint in self.config.endpoints]
        self.publish([(position, place.host, place.port) for position, place in enumerate(places)])
