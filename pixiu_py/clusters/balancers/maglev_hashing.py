"""MaglevHashing: a table that endpoints fill in turn, each in an order of its own; a key is one look into it.

The algorithm is that of Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer" (2016), §3.4.
Shares are more even than a ring's; when an endpoint leaves, a few keys of the others move too.

A table for a thousand endpoints takes a tenth of a second to fill. So it is filled before the first request, and when the
endpoints change, a little at a time between requests; meanwhile the old one serves, without those that have left.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
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

#: Looks into the table in one step of filling it.
_LOOKS = 3000


@plugin(Family.LOAD_BALANCER, "MaglevHashing")
class MaglevHashing(HashBalancer):
    """Equal keys to the same endpoint, with even shares; when one leaves, nearly all other keys stay.

    ``consistent.maglev_table_size`` is a prime of at most 999983; by default the next size above 100 for each endpoint.
    """

    def __init__(self, config: ClusterConfig, context: Context) -> None:
        super().__init__(config, context)
        self._table: list[Endpoint] = []
        #: Who may be picked, while the table is that of others; None: it is up to date.
        self._allowed: frozenset[Endpoint] | None = None
        self._change = 0
        size = config.consistent.maglev_table_size
        if size and not (size <= SIZES[-1] and is_prime(size)):
            message = f"{size} is not a prime of at most {SIZES[-1]}"
            raise ConfigError([Problem("consistent.maglev_table_size", message)])

    def build(self, endpoints: Sequence[Endpoint]) -> None:
        """Fill the table. The order of the endpoints does not matter, only their ids."""
        self._change += 1
        steps = self._rebuild(endpoints, self._change)
        allowed = frozenset(endpoints)
        if any(endpoint in allowed for endpoint in self._table):
            self._allowed = allowed
            self.context.tasks.spread(steps, "Maglev table")
            return
        for _ in steps:
            pass

    def _rebuild(self, endpoints: Sequence[Endpoint], change: int) -> Generator[None, None, None]:
        # Sized by what is configured: an endpoint that is ill for a while must not change the size, and so every key.
        count = max(len(self.config.endpoints), len(endpoints))
        by_id = sorted(endpoints, key=lambda endpoint: endpoint.id)
        size = table_size(count, self.config.consistent.maglev_table_size)
        turns = yield from filling([endpoint.id for endpoint in by_id], size)
        if change == self._change:  # else there is a newer one
            self._table = [by_id[turn] for turn in turns]
            self._allowed = None

    def look_up(self, point: int) -> Endpoint:
        """The endpoint in the point's place."""
        table = self._table
        endpoint = table[point % len(table)]
        allowed = self._allowed
        while allowed is not None and endpoint not in allowed:  # ``build`` has made sure that one is
            point += 1
            endpoint = table[point % len(table)]
        return endpoint


def table_size(endpoints: int, configured: int = 0) -> int:
    """The configured size if every endpoint has a place in it, else the smallest of ``SIZES`` with 100 for each."""
    if configured >= endpoints:
        return configured
    return next((size for size in SIZES if size > 100 * endpoints), SIZES[-1])


def fill(names: Sequence[str], size: int) -> list[int]:
    """The table: for each place, the position in ``names`` of its owner. ``size``: a prime, not below their number."""
    steps = filling(names, size)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            table: list[int] = end.value
            return table


def filling(names: Sequence[str], size: int) -> Generator[None, None, list[int]]:
    """``fill`` in steps, of well below a millisecond each."""
    table = [-1] * size
    places: list[int] = []
    steps: list[int] = []
    for name in names:
        places.append(hash64(b"offset#" + name.encode()) % size)
        steps.append(hash64(b"step#" + name.encode()) % (size - 1) + 1)
        if len(places) % 100 == 0:
            yield
    turn = looks = 0
    for _ in range(size):
        place, step = places[turn], steps[turn]
        while table[place] >= 0:
            place = (place + step) % size
            looks += 1
        table[place] = turn
        places[turn] = place
        turn = (turn + 1) % len(names)
        looks += 1
        if looks > _LOOKS:
            looks = 0
            yield
    return table


def is_prime(number: int) -> bool:
    """True for a prime, by trial division."""
    return number > 1 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))
