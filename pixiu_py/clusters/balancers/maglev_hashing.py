"""MaglevHashing: a table that endpoints fill in turn, each in an order of its own; a key is one look into it.

The algorithm is that of Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer" (2016), §3.4.
Shares are more even than a ring's; when an endpoint leaves, a few keys of the others move too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pixiu_py.clusters.balancers.hashing import HashBalancer, hash64
from pixiu_py.errors import ConfigError, Problem
from pixiu_py.registry import Family, plugin

if TYPE_CHECKING:
    from pixiu_py.clusters.endpoint import Endpoint
    from pixiu_py.config.model import Cluster as ClusterConfig
    from pixiu_py.filters.base import Context

#: Table sizes that are chosen from: primes, each about twice the one before, so that a size seldom changes.
SIZES = (307, 617, 1237, 2477, 4957, 9923, 19853, 39709, 79423, 158849, 317701, 635413, 999983)


@plugin(Family.LOAD_BALANCER, "MaglevHashing")
class MaglevHashing(HashBalancer):
    """Equal keys to the same endpoint, with even shares; when one leaves, nearly all other keys stay.

    ``consistent.maglev_table_size`` is a prime of at most 999983; by default the next size above 100 for each endpoint.
    """

    def __init__(self, config: ClusterConfig, context: Context) -> None:
        super().__init__(config, context)
        self._table: list[Endpoint] = []
        size = config.consistent.maglev_table_size
        if size and not (size <= SIZES[-1] and is_prime(size)):
            message = f"{size} is not a prime of at most {SIZES[-1]}"
            raise ConfigError([Problem("consistent.maglev_table_size", message)])

    def build(self, endpoints: Sequence[Endpoint]) -> None:
        """Fill the table. The order of the endpoints does not matter, only their ids."""
        # Sized by what is configured: an endpoint that is ill for a while must not change the size, and so every key.
        count = max(len(self.config.endpoints), len(endpoints))
        by_id = sorted(endpoints, key=lambda endpoint: endpoint.id)
        size = table_size(count, self.config.consistent.maglev_table_size)
        self._table = [by_id[turn] for turn in fill([endpoint.id for endpoint in by_id], size)]

    def look_up(self, point: int) -> Endpoint:
        """The endpoint in the point's place."""
        return self._table[point % len(self._table)]


def table_size(endpoints: int, configured: int = 0) -> int:
    """The configured size if every endpoint has a place in it, else the smallest of ``SIZES`` with 100 for each."""
    if configured >= endpoints:
        return configured
    return next((size for size in SIZES if size > 100 * endpoints), SIZES[-1])


def fill(names: Sequence[str], size: int) -> list[int]:
    """The table: for each place, the position in ``names`` of its owner. ``size``: a prime, not below their number."""
    table = [-1] * size
    places = [hash64(b"offset#" + name.encode()) % size for name in names]
    steps = [hash64(b"step#" + name.encode()) % (size - 1) + 1 for name in names]
    turn = 0
    for _ in range(size):
        place, step = places[turn], steps[turn]
        while table[place] >= 0:
            place = (place + step) % size
        table[place] = turn
        places[turn] = place
        turn = (turn + 1) % len(names)
    return table


def is_prime(number: int) -> bool:
    """True for a prime, by trial division."""
    return number > 1 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))
