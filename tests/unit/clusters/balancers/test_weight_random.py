"""WeightRandom."""

from __future__ import annotations

from collections import Counter

import pytest

from pixiu_py.clusters.base import LoadBalancer
from tests.fakes.clusters import make_balancer, make_endpoints
from tests.fakes.exchange import make_exchange


def weighted(*weights: int) -> LoadBalancer:
    chooser = make_balancer("WeightRandom", 0)
    endpoints = make_endpoints(len(weights))
    for endpoint, weight in zip(endpoints, weights, strict=True):
        endpoint.weight = weight
    chooser.update(endpoints)
    return chooser


def shares(chooser: LoadBalancer, count: int) -> Counter[str]:
    return Counter(endpoint.id for endpoint in (chooser.pick(make_exchange()) for _ in range(count)) if endpoint)


def test_shares_follow_the_weights() -> None:
    shared = shares(weighted(1, 3, 6), 10_000)
    assert shared["e0"] == pytest.approx(1000, rel=0.1)
    assert shared["e1"] == pytest.approx(3000, rel=0.1)
    assert shared["e2"] == pytest.approx(6000, rel=0.1)


def test_weight_zero_gets_nothing_as_long_as_others_have_some() -> None:
    assert shares(weighted(0, 5, 0), 500) == {"e1": 500}


def test_all_zero_means_all_alike() -> None:
    assert set(shares(weighted(0, 0, 0), 500)) == {"e0", "e1", "e2"}


@pytest.mark.parametrize(("draw", "expected"), [(0.0, "e1"), (0.2499, "e1"), (0.25, "e2"), (0.9999999, "e2")])
def test_bounds_belong_to_one_endpoint_each(draw: float, expected: str) -> None:
    chooser = weighted(0, 1, 3, 0)
    chooser.context.random.random = lambda: draw  # type: ignore[method-assign]
    assert shares(chooser, 1) == {expected: 1}
