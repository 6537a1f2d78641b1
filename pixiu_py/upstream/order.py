"""In which order the endpoints of a cluster are tried for one request. Pure.

The preferred endpoint if any, else the balancer's pick, then the rest in config order, wrapping round; each at most once.
Those that cool down are passed over. When all of them do, the one whose cooldown ends first is tried all the same: a
request that might succeed is better than a 503 that cannot.
"""

from __future__ import annotations

from collections.abc import Sequence

from pixiu_py.clusters.endpoint import Endpoint


def first_endpoint(
    candidates: Sequence[Endpoint], preferred: Endpoint | None, picked: Endpoint | None, now: float
) -> Endpoint | None:
    """Where to begin; None when there are no candidates."""
    if preferred is not None and preferred.cooldown.available(now):
        return preferred
    if picked is None or picked.cooldown.available(now):
        return picked
    following = next_endpoint(candidates, picked, {picked}, now)
    return following if following is not None else soonest(candidates)


def next_endpoint(
    candidates: Sequence[Endpoint], current: Endpoint, tried: set[Endpoint], now: float
) -> Endpoint | None:
    """The next untried endpoint after ``current``, wrapping round, that is not cooling down."""
    start = _position(candidates, current)
    for offset in range(1, len(candidates) + 1):
        endpoint = candidates[(start + offset) % len(candidates)]
        if endpoint not in tried and endpoint.cooldown.available(now):
            return endpoint
    return None


def first_available(endpoints: Sequence[Endpoint], now: float) -> Endpoint | None:
    """The first that is not cooling down."""
    return next((endpoint for endpoint in endpoints if endpoint.cooldown.available(now)), None)


def soonest(candidates: Sequence[Endpoint]) -> Endpoint | None:
    """The endpoint that may be asked first again."""
    return min(candidates, key=lambda endpoint: endpoint.cooldown.ends(), default=None)


def wait_until_ready(candidates: Sequence[Endpoint], now: float) -> float:
    """Seconds until some endpoint may be asked again; 0 when one may now."""
    endpoint = soonest(candidates)
    return max(0.0, endpoint.cooldown.ends() - now) if endpoint is not None else 0.0


def _position(candidates: Sequence[Endpoint], current: Endpoint) -> int:
    for position, endpoint in enumerate(candidates):
        if endpoint is current:
            return position
    return -1
