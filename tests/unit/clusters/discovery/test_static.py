"""Static clusters."""

from __future__ import annotations

from pixiu_py.clusters.base import Address
from pixiu_py.clusters.discovery.static import Static
from pixiu_py.config.model import Cluster, Endpoint, LlmMeta
from pixiu_py.registry import Family
from tests.fakes.clusters import cluster_context, cluster_registry, endpoint_config


async def test_the_configured_addresses_are_published_once_in_order() -> None:
    published: list[list[Address]] = []
    config = Cluster(endpoints=[endpoint_config("a"), Endpoint(id="b", llm_meta=LlmMeta(provider="openai"))])
    discovery = Static(config, cluster_context(), lambda addresses: published.append(list(addresses)))
    await discovery.start()
    assert published == [[(0, "10.0.0.1", 80), (1, "api.openai.com", 443)]]
    await discovery.close()


def test_pixius_default_type_is_taken_for_static() -> None:
    entry = cluster_registry().find(Family.CLUSTER, "EDS")
    assert entry is not None
    assert entry.cls is Static
