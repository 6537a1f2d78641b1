"""From what indexes say of instances to endpoints, and back."""

from __future__ import annotations

import pytest

from pixiu_py.filters.ai.kvcache.instances import by_endpoint, instances_of
from tests.fakes.clusters import make_endpoints

ENDPOINTS = make_endpoints(3)


@pytest.mark.parametrize(
    ("held", "instances", "found"),
    [
        ({}, {}, {}),
        ({"e0": 512, "e2": 256}, {}, {"e0": 512, "e2": 256}),
        ({"x": 512}, {}, {}),
        ({"x": 512}, {"x": ["e1"]}, {"e1": 512}),
        ({"x": 512}, {"x": ["e1", "e2", "gone"]}, {"e1": 512, "e2": 512}),
        ({"x": 512, "y": 1024}, {"x": ["e1"], "y": ["e1"]}, {"e1": 1024}),
        ({"y": 1024, "x": 512}, {"x": ["e1"], "y": ["e1"]}, {"e1": 1024}),
        ({"e0": 0}, {}, {}),
    ],
)
def test_instances_and_endpoints(held: dict[str, int], instances: dict[str, list[str]], found: dict[str, int]) -> None:
    """By id or by the map; only endpoints of this request; the longest counts."""
    assert by_endpoint(held, instances, ENDPOINTS) == found


def test_instances_of_an_endpoint() -> None:
    """An id that is another endpoint's instance is not its own."""
    assert instances_of("e0", {}) == ["e0"]
    assert instances_of("e1", {"x": ["e1", "e2"], "y": ["e1"]}) == ["x", "y", "e1"]
    assert instances_of("e1", {"e1": ["e2"], "x": ["e1"]}) == ["x"]
