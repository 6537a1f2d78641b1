"""Clusters without a gateway: a registry of what they need, configs in one line, a cluster that is ready to be asked."""

from __future__ import annotations

import importlib
import pkgutil
import random
from collections.abc import Callable
from typing import Any

import pixiu_py.clusters.balancers
import pixiu_py.clusters.discovery
import pixiu_py.filters.ai.kvcache.index
from pixiu_py.clusters.base import LoadBalancer
from pixiu_py.clusters.build import build_templates
from pixiu_py.clusters.cluster import Cluster
from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.clusters.manager import ClusterManager
from pixiu_py.config.model import Cluster as ClusterConfig
from pixiu_py.config.model import Endpoint as EndpointConfig
from pixiu_py.config.model import LlmMeta, SocketAddress
from pixiu_py.filters.base import Context
from pixiu_py.registry import Family, Registry
from pixiu_py.tasks import Tasks
from pixiu_py.upstream import retry


def cluster_registry() -> Registry:
    """Every balancer, cluster type, KV-cache index and retry policy that lies in the package's folders."""
    registry = Registry()
    for package in (pixiu_py.clusters.balancers, pixiu_py.clusters.discovery, pixiu_py.filters.ai.kvcache.index):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            registry.add_module(importlib.import_module(module.name))
    registry.add_module(retry)
    return registry


def cluster_context(seed: int = 0, clock: Callable[[], float] = lambda: 0.0) -> Context:
    """A context with that registry, seeded randomness and a clock that stands still."""
    return Context(
        clusters=ClusterManager(),
        registry=cluster_registry(),
        tasks=Tasks("test"),
        clock=clock,
        random=random.Random(seed),
    )


def endpoint_config(id: str = "", host: str = "10.0.0.1", port: int = 80, **changes: Any) -> EndpointConfig:  # noqa: A002
    """One endpoint. Keys of ``llm_meta`` and of the endpoint itself may be given side by side."""
    meta = {key: changes.pop(key) for key in list(changes) if key in LlmMeta.__struct_fields__}
    changes.setdefault("socket_address", SocketAddress(address=host, port=port))
    return EndpointConfig(id=id, llm_meta=LlmMeta(**meta) if meta else None, **changes)


def make_cluster(
    *endpoints: EndpointConfig, lb: str = "RoundRobin", context: Context | None = None, **changes: Any
) -> Cluster:
    """A cluster that has published its configured addresses. ``changes`` are keys of its config."""
    context = context or cluster_context()
    config = ClusterConfig(name="main", lb_policy=lb, endpoints=list(endpoints), **changes)
    entry = context.registry.find(Family.LOAD_BALANCER, lb)
    assert entry is not None
    templates = build_templates("main", config.endpoints, context.registry)
    cluster = Cluster(config, templates, lambda: entry.cls(config, context))
    cluster.publish([(i, t.location.host, t.location.port) for i, t in enumerate(templates)])
    return cluster


def make_balancer(kind: str, count: int, seed: int = 0, **config: Any) -> LoadBalancer:
    """A balancer of that kind over endpoints ``e0``, ``e1`` … ``config`` are keys of the cluster."""
    context = cluster_context(seed)
    entry = context.registry.find(Family.LOAD_BALANCER, kind)
    assert entry is not None
    balancer: LoadBalancer = entry.cls(ClusterConfig(name="main", lb_policy=kind, **config), context)
    balancer.update(make_endpoints(count))
    return balancer


def make_endpoints(count: int) -> list[Endpoint]:
    """Endpoints ``e0``, ``e1`` … at different addresses."""
    return [Endpoint("main", f"e{number}", "10.0.0.1", number + 1) for number in range(count)]
