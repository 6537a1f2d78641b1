"""Rand."""

from __future__ import annotations

from pixiu_py.clusters.balancers.rand import Rand
from pixiu_py.registry import Family
from tests.fakes.clusters import cluster_registry, make_balancer
from tests.fakes.exchange import make_exchange


def test_the_draw_covers_the_list_from_its_first_to_its_last() -> None:
    chooser = make_balancer("Rand", 3)
    draws = iter((0.0, 0.3333, 0.3334, 0.9999999999999999))
    chooser.context.random.random = lambda: next(draws)  # type: ignore[method-assign]
    picked = [chooser.pick(make_exchange()) for _ in range(4)]
    assert [endpoint.id for endpoint in picked if endpoint] == ["e0", "e0", "e1", "e2"]


def test_lb_is_accepted_for_rand() -> None:
    """Many Pixiu samples have ``lb_policy: lb``, which Pixiu silently takes for Rand."""
    registry = cluster_registry()
    entry = registry.find(Family.LOAD_BALANCER, "lb")
    assert entry is not None
    assert entry.cls is Rand
    assert registry.is_alias(Family.LOAD_BALANCER, "lb")
