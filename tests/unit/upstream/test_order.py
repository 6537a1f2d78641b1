"""In which order endpoints are tried: the preferred one, the balancer's pick, then the rest in config order, wrapping round."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pixiu_py.clusters.cooldown import Cooldown
from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.upstream.order import first_endpoint, next_endpoint, soonest, wait_until_ready

NOW = 100.0


def endpoints(*ends: float) -> list[Endpoint]:
    """Endpoints a, b, …; each cools down until that time."""
    made = []
    for name, end in zip("abcdef", ends, strict=False):
        endpoint = Endpoint("main", name, "h", 1)
        endpoint.cooldown = Cooldown(seconds=end - NOW, threshold=1)
        if end > NOW:
            endpoint.cooldown.failed(NOW)
        made.append(endpoint)
    return made


def walk(candidates: Sequence[Endpoint], preferred: int | None = None, picked: int | None = 0) -> str:
    """The names of the endpoints in the order in which they are tried when all of them fail."""
    chosen = [candidates[i] if i is not None else None for i in (preferred, picked)]
    current = first_endpoint(candidates, chosen[0], chosen[1], NOW)
    tried: list[Endpoint] = []
    while current is not None:
        tried.append(current)
        current = next_endpoint(candidates, current, set(tried), NOW)
    return "".join(endpoint.id for endpoint in tried)


@pytest.mark.parametrize(
    ("ends", "preferred", "picked", "order"),
    [
        ((0, 0, 0, 0), None, 0, "abcd"),
        ((0, 0, 0, 0), None, 2, "cdab"),
        ((0, 0, 0, 0), 3, 1, "dabc"),
        ((0, 200, 0, 0), None, 0, "acd"),
        ((0, 200, 0, 0), None, 1, "cda"),
        ((0, 200, 0, 0), 1, 3, "dac"),
        ((200, 200, 0), None, 0, "c"),
        ((0,), None, 0, "a"),
    ],
)
def test_order(ends: tuple[float, ...], preferred: int | None, picked: int, order: str) -> None:
    """Each at most once; those that cool down are passed over, the preferred one too."""
    assert walk(endpoints(*ends), preferred, picked) == order


def test_when_all_cool_down_the_soonest_is_tried() -> None:
    """A request that might succeed is better than a 503 that cannot."""
    assert walk(endpoints(300, 150, 200), picked=0) == "b"
    assert walk(endpoints(300, 150, 200), preferred=2, picked=0) == "b"


def test_without_candidates_there_is_nothing_to_try() -> None:
    """The cluster has no endpoint, or none for the model."""
    assert first_endpoint([], None, None, NOW) is None
    assert soonest([]) is None
    assert wait_until_ready([], NOW) == 0


def test_endpoint_that_has_left_is_followed_by_the_first() -> None:
    """The cluster changed while the request was under way."""
    candidates = endpoints(0, 0)
    stranger = Endpoint("main", "z", "h", 1)
    assert next_endpoint(candidates, stranger, {stranger}, NOW) is candidates[0]


def test_wait_until_ready_is_the_shortest() -> None:
    """And nothing when some endpoint may be asked now."""
    assert wait_until_ready(endpoints(300, 150, 200), NOW) == 50
    assert wait_until_ready(endpoints(300, 0, 200), NOW) == 0
