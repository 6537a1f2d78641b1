"""Names in a router's block: each has to be that of something, and to be there once. A misspelt one would be found out by a
request. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from pixiu_py.config.types import is_field_name
from pixiu_py.filters.llm.router.model import RouterModel
from pixiu_py.filters.llm.router.prices import price_of
from pixiu_py.filters.llm.router.rules import RulesConfig
from pixiu_py.registry import did_you_mean

if TYPE_CHECKING:
    from pixiu_py.config.model import Cluster
    from pixiu_py.config.report import BlockReport
    from pixiu_py.filters.llm.router.model import RouterConfig


def check_names(config: RouterConfig, clusters: Mapping[str, Cluster], report: BlockReport) -> None:
    """Report models that no endpoint serves, clusters that are not there, rules for routes that are not, missing prices,
    routes that are there twice, aliases of aliases, and headers that cannot be.
    """
    if clusters:  # else the models are somewhere else
        served = [models for cluster in clusters.values() for models in _served(cluster)]
        for path, model in _models(config):
            _check_served(path, model, served, report)
    for path, name in _clusters(config):
        if name not in clusters:
            report.problem(path, f"No cluster is named {name!r}{did_you_mean(name, sorted(clusters))}")
    for path, router in _routers(config):
        if router.cluster in clusters:
            _check_served(f"{path}.model", router.model, _served(clusters[router.cluster]), report)
    _check_routes(config, report)
    _check_aliases(config, report)
    _check_headers(config, report)
    _check_rules(config, report)
    _check_prices(config, report)


def _served(cluster: Cluster) -> list[set[str]]:
    """What each endpoint of a cluster serves; an empty set: any model. So it is where the endpoints are not known yet."""
    metas = [endpoint.llm_meta for endpoint in cluster.endpoints]
    return [
        {model if isinstance(model, str) else model.name for model in meta.models} if meta is not None else set()
        for meta in metas
    ] or [set()]


def _check_served(path: str, model: str, served: list[set[str]], report: BlockReport) -> None:
    if any(not models or model in models for models in served):
        return
    hint = did_you_mean(model, sorted(set().union(*served)))
    report.problem(path, f"No endpoint serves the model {model!r}{hint}")


def _models(config: RouterConfig) -> Iterator[tuple[str, str]]:
    """Every model that is named, after aliases, and where. An alias is checked where it is made."""
    aliases = config.model_aliases
    named = [("default_model", config.default_model)] if config.default_model else []
    for index, route in enumerate(config.routing_preferences):
        named += [(f"routing_preferences[{index}].models[{at}]", model) for at, model in enumerate(route.models)]
    yield from ((path, model) for path, model in named if model not in aliases)
    for name, alias in aliases.items():
        if alias.target not in aliases:
            yield f"model_aliases.{name}.target", alias.target


def _routers(config: RouterConfig) -> Iterator[tuple[str, RouterModel]]:
    """Every router model."""
    if config.router is not None:
        yield "router", config.router
    for index, decider in enumerate(config.deciders):
        if isinstance(decider.config, RouterModel):
            yield f"deciders[{index}]", decider.config


def _clusters(config: RouterConfig) -> Iterator[tuple[str, str]]:
    """Every cluster that is named."""
    yield from ((f"{path}.cluster", router.cluster) for path, router in _routers(config) if router.cluster)
    yield from ((f"models.clusters[{index}]", name) for index, name in enumerate(config.models.clusters))


def _check_routes(config: RouterConfig, report: BlockReport) -> None:
    names: set[str] = set()
    for index, route in enumerate(config.routing_preferences):
        if route.name in names:
            report.problem(f"routing_preferences[{index}].name", f"route {route.name!r} is there twice")
        names.add(route.name)


def _check_aliases(config: RouterConfig, report: BlockReport) -> None:
    """An alias is resolved once, so that there is no circle to get lost in."""
    for name, alias in config.model_aliases.items():
        if alias.target in config.model_aliases:
            message = f"alias {name!r} stands for {alias.target!r}, which is an alias itself"
            report.problem(f"model_aliases.{name}.target", message)


def _check_headers(config: RouterConfig, report: BlockReport) -> None:
    """What no header can be called, no client can send: sessions, or the bounds between tenants, would not be there."""
    if config.routing is None:
        return
    cache = config.routing.session_cache
    for path, name in (
        ("session_header", config.routing.session_header),
        ("session_cache.tenant_header", cache.tenant_header),
    ):
        if name and not is_field_name(name):
            report.problem(f"routing.{path}", f"{name!r} is no name of a header")


def _check_rules(config: RouterConfig, report: BlockReport) -> None:
    """A rule for a route that only requests bring along is possible, but more often it is misspelt."""
    routes = [route.name for route in config.routing_preferences]
    for index, decider in enumerate(config.deciders):
        for at, rule in enumerate(decider.config.rules if isinstance(decider.config, RulesConfig) else ()):
            if rule.route and rule.route not in routes:
                message = f"No route is named {rule.route!r}{did_you_mean(rule.route, routes)}"
                report.warning(f"deciders[{index}].rules[{at}].route", message)


def _check_prices(config: RouterConfig, report: BlockReport) -> None:
    """A model without a price is never the cheapest. Those of a catalogue are not known yet."""
    source = next((source for source in config.model_metrics_sources if source.provider == "static"), None)
    if source is None:
        return
    for index, route in enumerate(config.routing_preferences):
        for at, model in enumerate(route.models if route.prefer == "cheapest" else ()):
            alias = config.model_aliases.get(model)
            if price_of(source.prices, alias.target if alias is not None else model) is None:
                message = f"No price is given for {model!r}, so it comes last"
                report.warning(f"routing_preferences[{index}].models[{at}]", message)
