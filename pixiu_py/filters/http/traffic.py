"""Canary releases: sends chosen requests to another cluster than their route's, by a header or by weight."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from typing import Annotated, NamedTuple

from msgspec import Meta, field

from pixiu_py.config.types import Model, doc
from pixiu_py.errors import StartError
from pixiu_py.filters.base import Context, HttpFilter
from pixiu_py.http.exchange import Exchange
from pixiu_py.registry import Family, plugin

HEADER = "canary-by-header"


class Traffic(Model, frozen=True):
    """One canary."""

    name: Annotated[str, doc("Cluster to send to.")]
    router: Annotated[str, doc("Path prefix; the longest that fits counts.")] = ""
    header: Annotated[str, doc("Value of the request header canary-by-header that chooses this cluster.")] = field(
        name="canary-by-header", default=""
    )
    weight: Annotated[int, Meta(ge=0, le=100, description="Percentage of the requests that no header decided.")] = (
        field(name="canary-weight", default=0)
    )


class TrafficConfig(Model, frozen=True):
    """Config of ``dgp.filter.http.traffic``."""

    traffics: Annotated[list[Traffic], doc("Canaries.")] = []

    def __post_init__(self) -> None:
        for router, split in compile_splits(self.traffics).items():
            if split.total > 100:
                raise ValueError(f"the weights of router {router!r} add up to {split.total}, more than 100")
        values = Counter((traffic.router, traffic.header) for traffic in self.traffics if traffic.header)
        for (router, value), times in values.items():
            if times > 1:
                raise ValueError(f"canary-by-header {value!r} of router {router!r} is there {times} times")


class Split(NamedTuple):
    """The canaries of one router: header values, and (upper bound, cluster) pairs over 0..100."""

    by_header: dict[str, str]
    by_weight: list[tuple[int, str]]

    @property
    def total(self) -> int:
        """Sum of the weights."""
        return self.by_weight[-1][0] if self.by_weight else 0

    def choose(self, header: str | None, rng: random.Random) -> str | None:
        """The cluster of a canary, or None to stay with the route's. One draw decides, so that shares are exact."""
        if header and header in self.by_header:
            return self.by_header[header]
        if not self.by_weight:
            return None
        drawn = rng.random() * 100
        return next((name for bound, name in self.by_weight if drawn < bound), None)


def compile_splits(traffics: list[Traffic]) -> dict[str, Split]:
    """Router → its canaries."""
    splits: dict[str, Split] = defaultdict(lambda: Split({}, []))
    for traffic in traffics:
        split = splits[traffic.router]
        if traffic.header:
            split.by_header[traffic.header] = traffic.name
        if traffic.weight:
            split.by_weight.append((split.total + traffic.weight, traffic.name))
    return dict(splits)


@plugin(Family.HTTP_FILTER, "dgp.filter.http.traffic")
class TrafficSplit(HttpFilter):
    """Sends a share of the requests to a canary cluster."""

    Config = TrafficConfig

    def __init__(self, config: TrafficConfig, context: Context) -> None:
        super().__init__(config, context)
        splits = compile_splits(config.traffics)
        self._splits = sorted(splits.items(), key=lambda item: len(item[0]), reverse=True)

    async def start(self) -> None:
        """Refuse to start when a canary's cluster is not there."""
        for traffic in self.config.traffics:
            if self.context.clusters.get(traffic.name) is None:
                raise StartError(f"dgp.filter.http.traffic: there is no cluster {traffic.name!r}")

    def decode(self, exchange: Exchange) -> None:
        """Put another cluster into the exchange: the route is shared and never changes."""
        path = exchange.request.decoded_path
        split = next((split for router, split in self._splits if path.startswith(router)), None)
        if split is None:
            return
        name = split.choose(exchange.request.headers.get(HEADER), self.context.random)
        if name is not None:
            exchange.cluster = self.context.clusters.get(name)
