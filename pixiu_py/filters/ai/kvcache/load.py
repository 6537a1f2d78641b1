"""How busy each engine is, as last measured: what the score weighs cached tokens against.

``Board`` holds one ``Load`` per endpoint. Whoever measures (``poller.py``) puts it there; whoever decides reads it with
the time of now and gets nothing that is too old. Time is an argument, in monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pixiu_py.clusters.endpoint import Endpoint


@dataclass(frozen=True, slots=True)
class Load:
    """One reading of an engine."""

    #: Requests in a batch, and requests in its queue.
    running: int
    waiting: int
    #: Share of the KV cache in use, 0 to 1; None when the engine does not tell.
    cache_usage: float | None = None
    #: When it was read, in monotonic seconds.
    at: float = 0.0

    @property
    def ratio(self) -> float:
        """How loaded the engine is, 0 to 1: the share of its cache in use or of its requests that wait, the larger one."""
        waiting = self.waiting / (self.running + self.waiting) if self.waiting else 0.0
        return max(waiting, self.cache_usage or 0.0)


class Board:
    """The latest reading of each endpoint, bounded by ``keep``."""

    def __init__(self, max_age: float) -> None:
        self._max_age = max_age
        self._loads: dict[Endpoint, Load] = {}

    def put(self, endpoint: Endpoint, load: Load) -> None:
        """Take a reading."""
        self._loads[endpoint] = load

    def get(self, endpoint: Endpoint, now: float) -> Load | None:
        """The endpoint's load; None when there is no reading, or none younger than the maximum age."""
        load = self._loads.get(endpoint)
        if load is None or now - load.at > self._max_age:
            return None
        return load

    def keep(self, endpoints: Collection[Endpoint]) -> None:
        """Forget all others."""
        for gone in self._loads.keys() - set(endpoints):
            del self._loads[gone]

    def ratio(self, now: float) -> float | None:
        """The largest ratio of all endpoints; None when nothing fresh is known."""
        return max((load.ratio for load in self._fresh(now)), default=None)

    def cache_usage(self, now: float) -> float | None:
        """The largest share of a KV cache in use; None when no engine tells."""
        return max((load.cache_usage for load in self._fresh(now) if load.cache_usage is not None), default=None)

    def _fresh(self, now: float) -> list[Load]:
        return [load for load in self._loads.values() if now - load.at <= self._max_age]
