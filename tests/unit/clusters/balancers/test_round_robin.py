"""RoundRobin."""

from __future__ import annotations

from pixiu_py.clusters.base import LoadBalancer
from tests.fakes.clusters import make_balancer, make_endpoints
from tests.fakes.exchange import make_exchange


def ids(chooser: LoadBalancer, count: int) -> list[str]:
    return [endpoint.id for endpoint in (chooser.pick(make_exchange()) for _ in range(count)) if endpoint]


def test_each_in_turn() -> None:
    assert ids(make_balancer("RoundRobin", 3), 7) == ["e0", "e1", "e2", "e0", "e1", "e2", "e0"]


def test_the_turn_goes_on_when_the_list_changes() -> None:
    chooser = make_balancer("RoundRobin", 3)
    assert ids(chooser, 2) == ["e0", "e1"]
    chooser.update(make_endpoints(5))
    assert ids(chooser, 3) == ["e2", "e3", "e4"]
    chooser.update(make_endpoints(2))
    assert ids(chooser, 2) == ["e1", "e0"]
