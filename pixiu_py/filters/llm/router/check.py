"""Whether the models of a configuration are there: a misspelt one would be found out by the first request for it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pixiu_py.registry import did_you_mean

if TYPE_CHECKING:
    from pixiu_py.clusters.cluster import Cluster
    from pixiu_py.filters.llm.router.model import RouterConfig


def missing_models(config: RouterConfig, clusters: Sequence[Cluster]) -> list[str]:
    """What is wrong: one line for each model that no endpoint of any cluster serves.

    An endpoint that declares no models serves all; where there is one, nothing is missing. So it is without clusters: the
    models are somewhere else then.
    """
    known = sorted({name for cluster in clusters for endpoint in cluster.endpoints for name in endpoint.models})
    return [
        f"{where}: no endpoint serves the model {model!r}{did_you_mean(model, known)}"
        for where, model in _named(config)
        if clusters and not any(cluster.serves(model) for cluster in clusters)
    ]


def _named(config: RouterConfig) -> Iterator[tuple[str, str]]:
    """Every model that is named, after aliases, and by which key."""
    targets = {name: alias.target for name, alias in config.model_aliases.items()}
    if config.default_model:
        yield "default_model", targets.get(config.default_model, config.default_model)
    for name, target in targets.items():
        yield f"model_aliases.{name}.target", target
    for route in config.routing_preferences:
        for model in route.models:
            yield f"routing_preferences, route {route.name!r}", targets.get(model, model)
