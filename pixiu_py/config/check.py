"""Rules across the blocks of a configuration: names that must exist, things that may be there once only, chains.

Runs over a config that may be partial: ``decode.py`` puts ``BROKEN`` where something could not be decoded. A rule that
would have to guess about a broken value stays silent, so that one mistake is reported once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from msgspec.structs import replace

from pixiu_py.clusters.build import build_templates
from pixiu_py.clusters.providers import PROVIDERS, find_provider
from pixiu_py.config.broken import BROKEN, whole
from pixiu_py.config.model import (
    Cluster,
    Config,
    Endpoint,
    HttpConnectionManagerConfig,
    Listener,
    Route,
    StaticResources,
)
from pixiu_py.config.report import Report
from pixiu_py.config.types import HttpFilterRef
from pixiu_py.config.unsupported import UNSUPPORTED
from pixiu_py.errors import Problem
from pixiu_py.registry import Family, Registry, did_you_mean
from pixiu_py.routing.match import problems as match_problems

T = TypeVar("T")

_LISTENERS = "static_resources.listeners"
_CLUSTERS = "static_resources.clusters"
#: What Pixiu calls a cluster that names no type; not worth a warning.
_PIXIU_DEFAULT_TYPE = "EDS"
_NO_KEY = "The key is empty, so clients' own credentials are sent to this endpoint; client_auth: drop sends none"


def complete(config: Config, registry: Registry) -> Config:
    """``config`` with names as the gateway uses them: every cluster has one, and kinds are not written as aliases."""
    resources = config.static_resources
    clusters = [
        replace(
            cluster,
            name=_name(cluster, index),
            type=_canonical(registry, Family.CLUSTER, cluster.type),
            lb_policy=_canonical(registry, Family.LOAD_BALANCER, cluster.lb_policy),
        )
        for index, cluster in enumerate(resources.clusters)
    ]
    return replace(config, static_resources=replace(resources, clusters=clusters))


def check(config: Config, registry: Registry, report: Report) -> None:
    """Report every breach of a rule across blocks, in ``config`` as ``decode.py`` has made it."""
    if _sound(config.static_resources):
        _Checker(config.static_resources, registry, report).run()


def _name(cluster: Cluster, index: int) -> str:
    return cluster.name or f"cluster-{index + 1}"


def _canonical(registry: Registry, family: Family, kind: str) -> str:
    entry = registry.find(family, kind)
    return entry.kind if entry else kind


def _sound(*values: object) -> bool:
    """True when every one of these could be decoded."""
    return all(value is not BROKEN for value in values)


def _each(items: Sequence[T], path: str) -> Iterator[tuple[str, T]]:
    """The items that could be decoded, each with its path."""
    if _sound(items):
        yield from ((f"{path}[{index}]", item) for index, item in enumerate(items) if _sound(item))


def _address(listener: Listener) -> str:
    """Address and port; empty when they are not known before the listener is bound."""
    if not whole(listener.address) or not listener.address.socket_address.port:
        return ""
    address = listener.address.socket_address
    return f"{address.address}:{address.port}"


def _provider_hint(endpoint: Endpoint) -> str:
    meta = endpoint.llm_meta
    if meta is None or not meta.provider or find_provider(meta.provider):
        return ""
    hosted = [name for name, provider in PROVIDERS.items() if provider.host]
    return f" (provider {meta.provider!r} is not known{did_you_mean(meta.provider, hosted)})"


class _Checker:
    """One run over one configuration."""

    def __init__(self, resources: StaticResources, registry: Registry, report: Report) -> None:
        self._registry = registry
        self._report = report
        self._listeners = resources.listeners
        #: (path, name, cluster)
        self._clusters = [
            (f"{_CLUSTERS}[{index}]", _name(cluster, index) if _sound(cluster.name) else BROKEN, cluster)
            for index, cluster in enumerate(resources.clusters if _sound(resources.clusters) else [])
            if _sound(cluster)
        ]
        self._names = {name for _, name, _ in self._clusters}
        #: False when some cluster's name could not be decoded, so that nobody can say which are missing.
        self._names_known = _sound(resources.clusters, *self._names) and len(self._clusters) == len(resources.clusters)
        self._has_adapters = any(adapter.enabled for _, adapter in _each(resources.adapters, ""))

    def run(self) -> None:
        """Check everything."""
        if not self._listeners:
            self._report.warning(_LISTENERS, "No listener: nobody can reach this gateway")
        listeners = list(_each(self._listeners, _LISTENERS))
        self._once("listener on", ((f"{path}.address", _address(listener)) for path, listener in listeners))
        self._once("cluster named", ((f"{path}.name", name) for path, name, _ in self._clusters))
        for path, listener in listeners:
            self._listener(path, listener)
        for path, name, cluster in self._clusters:
            self._cluster(path, name, cluster)

    def _once(self, noun: str, named: Iterable[tuple[str, str]]) -> None:
        """Of (path, name), each name may be there once."""
        lines: dict[str, int] = {}
        for path, name in named:
            if not name or not _sound(name):
                continue
            if name in lines:
                self._report.problem(path, f"There is already a {noun} {name!r} (line {lines[name]})")
            lines.setdefault(name, self._report.where(path)[0])

    def _kind(self, family: Family, kind: str, path: str) -> None:
        """``kind`` must be registered; an alias is worth a warning. Pixiu's protocols are in capitals, ours need not be."""
        if not _sound(kind):
            return
        wanted = kind.upper() if family is Family.LISTENER else kind
        entry = self._registry.find(family, wanted)
        if entry is None:
            known = self._registry.kinds(family)
            hint = did_you_mean(kind, known) or f"; known are {', '.join(known) or 'none'}"
            self._report.problem(path, UNSUPPORTED.get((family, wanted), f"Unknown {family.value} {kind!r}{hint}"))
        elif self._registry.is_alias(family, kind) and kind != _PIXIU_DEFAULT_TYPE:
            self._report.warning(path, f"{kind!r} is an older spelling of {entry.kind!r}")

    # --- listeners -----------------------------------------------------------------------------------------------

    def _listener(self, path: str, listener: Listener) -> None:
        self._kind(Family.LISTENER, listener.protocol_type, f"{path}.protocol_type")
        if _sound(listener.protocol_type, listener.address) and listener.protocol_type.upper() == "HTTPS":
            address = listener.address.socket_address
            if _sound(address) and not address.certs_dir:
                self._report.problem(
                    f"{path}.address.socket_address.certs_dir",
                    "HTTPS needs certs_dir, a folder with tls.crt and tls.key",
                )
        if not _sound(listener.filter_chains) or not _sound(listener.filter_chains.filters):
            return
        filters = listener.filter_chains.filters
        at = f"{path}.filter_chains.filters"
        if len(filters) != 1:
            self._report.problem(at, f"A listener has exactly one network filter, got {len(filters)}")
        for below, reference in _each(filters, at):
            if isinstance(reference.config, HttpConnectionManagerConfig):
                self._manager(f"{below}.config", reference.config)

    def _manager(self, path: str, config: HttpConnectionManagerConfig) -> None:
        routes = config.route_config.routes if _sound(config.route_config) else BROKEN
        all_own = (
            _sound(routes)
            and bool(routes)
            and all(_sound(route) and route.http_filters is not None for route in routes)
        )
        if config.http_filters or not all_own:
            self._chain(f"{path}.http_filters", config.http_filters)
        for below, route in _each(routes, f"{path}.route_config.routes"):
            if route.http_filters is not None:
                self._chain(f"{below}.http_filters", route.http_filters)
            self._route(below, route)

    def _chain(self, path: str, references: Sequence[HttpFilterRef]) -> None:
        """Exactly one filter of a chain answers every request: its last."""
        if not _sound(references):
            return
        entries = [self._registry.find(Family.HTTP_FILTER, item.name) if _sound(item) else None for item in references]
        terminals = [index for index, entry in enumerate(entries) if entry and getattr(entry.cls, "terminal", False)]
        for index in terminals:
            if index + 1 < len(entries):
                later = references[index + 1]
                shown = repr(later.name) if _sound(later) and _sound(later.name) else "the filter"
                message = f"{references[index].name!r} answers every request, so {shown} after it would never run"
                self._report.problem(f"{path}[{index}].name", message)
        if not terminals and None not in entries:
            answering = [entry.kind for entry in self._registry if getattr(entry.cls, "terminal", False)]
            message = f"The chain must end in a filter that answers: {' or '.join(answering)}"
            self._report.problem(path, message)
        for at, reference in _each(references, path):
            self._beside_others(at, reference)

    def _beside_others(self, path: str, reference: HttpFilterRef) -> None:
        """What a filter says of its block beside the others; nothing where those are not all known."""
        entry = self._registry.find(Family.HTTP_FILTER, reference.name) if _sound(reference.name) else None
        if entry is None or self._has_adapters or not self._names_known or not whole(reference.config):
            return
        clusters = {name: cluster for _, name, cluster in self._clusters}
        if all(map(whole, clusters.values())):
            entry.cls.check(reference.config, clusters, self._report.below(f"{path}.config"))

    def _route(self, path: str, route: Route) -> None:
        self._match(f"{path}.match", route)
        if not _sound(route.route) or not _sound(route.route.cluster):
            return
        name = route.route.cluster
        if not name or name in self._names or not self._names_known:
            return
        at = f"{path}.route.cluster"
        if self._has_adapters:
            self._report.warning(at, f"No cluster is named {name!r} as long as no adapter brings it")
        else:
            self._report.problem(at, f"No cluster is named {name!r}{did_you_mean(name, sorted(self._names))}")

    def _match(self, path: str, route: Route) -> None:
        match = route.match
        if not whole(match):
            return
        if not (match.prefix or match.path or match.headers or match.hosts or match.models):
            self._report.problem(path, "Give at least one of prefix, path, headers, hosts and models")
        for key, sentence in match_problems(match):
            self._report.problem(f"{path}.{key}", sentence)

    # --- clusters ------------------------------------------------------------------------------------------------

    def _cluster(self, path: str, name: str, cluster: Cluster) -> None:
        self._kind(Family.CLUSTER, cluster.type, f"{path}.type")
        self._kind(Family.LOAD_BALANCER, cluster.lb_policy, f"{path}.lb_policy")
        if _sound(cluster.health_checks) and len(cluster.health_checks) > 1:
            self._report.warning(f"{path}.health_checks[1]", "Only the first health check is used, as in Pixiu")
        lines: dict[str, int] = {}
        for at, endpoint in _each(cluster.endpoints, f"{path}.endpoints"):
            self._endpoint(at, name if _sound(name) else "", endpoint)
            if not _sound(endpoint.id) or not endpoint.id:
                continue
            if endpoint.id in lines:
                message = f"{endpoint.id!r} is taken (line {lines[endpoint.id]}), so this endpoint gets another id"
                self._report.warning(f"{at}.id", message)
            lines.setdefault(endpoint.id, self._report.where(f"{at}.id")[0])

    def _endpoint(self, path: str, cluster: str, endpoint: Endpoint) -> None:
        if not whole(endpoint):
            return
        found: list[Problem] = []
        build_templates(cluster, [endpoint], self._registry, "", found)
        for problem in found:
            below = problem.path.removeprefix("[0]")
            hint = "" if below else _provider_hint(endpoint)
            self._report.problem(path + below, problem.message + hint)
        self._once_served(f"{path}.llm_meta.models", endpoint)
        meta = endpoint.llm_meta
        if meta and meta.client_auth == "pass" and meta.api_key is not None and not meta.api_key.reveal().strip():
            self._report.warning(f"{path}.llm_meta.api_key", _NO_KEY)

    def _once_served(self, path: str, endpoint: Endpoint) -> None:
        models = endpoint.llm_meta.models if endpoint.llm_meta else []
        names = [model if isinstance(model, str) else model.name for model in models]
        seen: set[str] = set()
        for index, name in enumerate(names):
            if name in seen:
                self._report.problem(f"{path}[{index}]", f"The model {name!r} is already listed")
            seen.add(name)
