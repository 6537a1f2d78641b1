"""Instances, as indexes name them, and endpoints, as the configuration does. Pure.

An instance is the endpoint of the same id, unless ``instances`` says which endpoints it is. There may be several: engines
that share one cache server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pixiu_py.clusters.endpoint import Endpoint

Instances = Mapping[str, list[str]]


def by_endpoint(held: Mapping[str, int], instances: Instances, endpoints: Sequence[Endpoint]) -> dict[str, int]:
    """Endpoint id → tokens, of what instances hold; only these endpoints, and of several instances the longest."""
    asked = {endpoint.id for endpoint in endpoints}
    found: dict[str, int] = {}
    for instance, tokens in held.items():
        for endpoint_id in instances.get(instance, (instance,)):
            if endpoint_id in asked and tokens > found.get(endpoint_id, 0):
                found[endpoint_id] = tokens
    return found


def instances_of(endpoint_id: str, instances: Instances) -> list[str]:
    """The instances that an endpoint is."""
    named = [name for name, ids in instances.items() if endpoint_id in ids]
    return named if endpoint_id in instances else [*named, endpoint_id]
