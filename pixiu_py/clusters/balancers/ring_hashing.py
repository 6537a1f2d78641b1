"""RingHashing: each endpoint has many points on a ring of hashes; a key belongs to the next point after its own."""

from __future__ import annotations

import hashlib
import struct
from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pixiu_py.clusters.balancers.hashing import HashBalancer
from pixiu_py.registry import Family, plugin

if TYPE_CHECKING:
    from pixiu_py.clusters.endpoint import Endpoint
    from pixiu_py.config.model import Cluster as ClusterConfig
    from pixiu_py.filters.base import Context

_POINTS = struct.Struct(">8Q")  # one digest of 64 bytes gives eight points


@plugin(Family.LOAD_BALANCER, "RingHashing")
class RingHashing(HashBalancer):
    """Equal keys to the same endpoint; when one leaves, only its own keys move, spread over the others.

    ``consistent.replica_num`` is the number of points of each endpoint, and ``max_vnode_num`` of all together.
    """

    def __init__(self, config: ClusterConfig, context: Context) -> None:
        super().__init__(config, context)
        self._points: list[int] = []
        self._owners: list[Endpoint] = []

    def build(self, endpoints: Sequence[Endpoint]) -> None:
        """Put the points of every endpoint on the ring."""
        settings = self.config.consistent
        count = min(settings.replica_num, max(1, settings.max_vnode_num // len(endpoints)))
        ring = sorted(
            (point, position) for position, endpoint in enumerate(endpoints) for point in points_of(endpoint.id, count)
        )
        self._points = [point for point, _ in ring]
        self._owners = [endpoints[position] for _, position in ring]

    def look_up(self, point: int) -> Endpoint:
        """The owner of the first point at or after ``point``, round the end."""
        return self._owners[bisect_left(self._points, point) % len(self._owners)]


def points_of(name: str, count: int) -> list[int]:
    """The first ``count`` points of a name; fewer are always a part of more, so that a smaller ring moves few keys."""
    points: list[int] = []
    for block in range(-(-count // 8)):
        points.extend(_POINTS.unpack(hashlib.blake2b(f"{block}#{name}".encode()).digest()))
    return points[:count]
