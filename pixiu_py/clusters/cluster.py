"""A cluster: its endpoints, which of them serve a model, which are well, and a balancer to choose among those.

Everything a request asks for is prepared when the endpoints or their health change, so ``pick`` and ``candidates`` cost
the same for two endpoints as for two thousand. The lists are tuples, replaced whole: who holds one keeps a consistent
picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import structlog

from pixiu_py.clusters.base import Address, LoadBalancer
from pixiu_py.clusters.build import Template, endpoint_at, take_over
from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.config.model import Cluster as ClusterConfig

if TYPE_CHECKING:
    from pixiu_py.http.exchange import Exchange

log = structlog.get_logger("pixiu_py.clusters")


class _View:
    """The endpoints that serve one model, and a balancer of their own."""

    __slots__ = ("balancer", "candidates", "panicking")

    def __init__(self, balancer: LoadBalancer) -> None:
        self.balancer = balancer
        self.candidates: tuple[Endpoint, ...] = ()
        self.panicking = False

    def show(self, endpoints: Sequence[Endpoint]) -> None:
        """Offer the healthy ones; all of them when none is: a wrong verdict must not take the last endpoint away."""
        healthy = tuple(endpoint for endpoint in endpoints if endpoint.healthy)
        self.panicking = bool(endpoints) and not healthy
        candidates = healthy or tuple(endpoints)
        if candidates != self.candidates:
            self.candidates = candidates
            self.balancer.update(candidates)


class Cluster:
    """A named set of endpoints.

    There is one view of them for each model name that some endpoint declares, one for all other names, and one for
    requests without a model: bounded by the configuration, whatever names clients come up with. Where no endpoint
    restricts its models there is a single view.
    """

    def __init__(
        self,
        config: ClusterConfig,
        templates: Sequence[Template],
        make_balancer: Callable[[], LoadBalancer],
        *,
        many: bool = False,
    ) -> None:
        self.name = config.name
        #: In config order; those of one configured endpoint in the order they were published.
        self.endpoints: tuple[Endpoint, ...] = ()
        #: How often a view has been left without any healthy endpoint.
        self.panics = 0
        #: Called after the endpoints have changed.
        self.on_change: Callable[[Cluster], None] | None = None
        self._checked = bool(config.health_checks)
        self._templates = tuple(templates)
        self._make_balancer = make_balancer
        #: Whether the address is part of an endpoint's id, see ``Discovery.many``.
        self.many = many
        self._by_id: dict[str, Endpoint] = {}
        self._down: frozenset[Endpoint] = frozenset()
        #: By model name; ``_other`` serves the names that are not in it.
        self._views: dict[str, _View] = {}
        self._other = _View(make_balancer())
        self._declared: frozenset[str] = frozenset()
        #: True when the choice of an endpoint depends on the model that is asked for.
        self.restricts_models = False
        #: True when the balancer wants the parsed body to have been read before ``pick``.
        self.needs_body = self._other.balancer.needs_body
        self._open = True
        self._rebuild()

    # --- for requests ------------------------------------------------------------------------------------------------

    def pick(self, exchange: Exchange, model: str = "") -> Endpoint | None:
        """An endpoint for ``model`` by the balancer; None when there is none. Cooldowns are the caller's business."""
        return (self._views.get(model) or self._other).balancer.pick(exchange)

    def candidates(self, model: str = "") -> tuple[Endpoint, ...]:
        """What ``pick`` chooses from, in config order: the healthy endpoints that serve ``model``; all if none is."""
        return (self._views.get(model) or self._other).candidates

    def serves(self, model: str) -> bool:
        """True when some endpoint is configured for ``model``, whether or not its address is known by now."""
        return not model or self._open or model in self._declared

    def find(self, id: str) -> Endpoint | None:  # noqa: A002 - the field's name
        """The endpoint with that id, else the first address of the configured endpoint with that id."""
        return self._by_id.get(id)

    def prepare(self) -> None:
        """Make ready what the first request would have to wait for."""
        for view in (*self._views.values(), self._other):
            view.balancer.prepare()

    # --- for discovery and health checks -----------------------------------------------------------------------------

    def publish(self, addresses: Sequence[Address], known: Iterable[Endpoint] = ()) -> None:
        """Take the complete list of addresses that a discovery has found. ``known``: see ``replace``."""
        self.replace(
            [
                endpoint_at(self._templates[position], host, port, many=self.many)
                for position, host, port in sorted(addresses, key=lambda address: address[0])
            ],
            known,
        )

    def replace(self, endpoints: Iterable[Endpoint], known: Iterable[Endpoint] = ()) -> None:
        """Let these be the endpoints from now on.

        An endpoint that is here already, or among ``known`` (those of the cluster that this one succeeds), stays the
        same object, with its connections, counts and record. Those that are gone are marked ``removed``.
        """
        old = {endpoint.key: endpoint for endpoint in (*known, *self.endpoints)}
        new = {
            endpoint.key: take_over(old.get(endpoint.key), endpoint, checked=self._checked) for endpoint in endpoints
        }
        before, self.endpoints = self.endpoints, tuple(new.values())
        gone = set(before).difference(self.endpoints)
        for endpoint in gone:
            endpoint.removed = True
        self._by_id = {endpoint.id: endpoint for endpoint in self.endpoints}
        for endpoint in self.endpoints:
            if isinstance(endpoint.settings, Template):
                self._by_id.setdefault(endpoint.settings.id, endpoint)
        self._rebuild()
        if before and (gone or len(self.endpoints) != len(before)):
            log.info("endpoints changed", cluster=self.name, endpoints=[endpoint.id for endpoint in self.endpoints])
        if self.on_change is not None:
            self.on_change(self)

    def set_health(self, endpoint: Endpoint, healthy: bool) -> None:
        """Take the verdict of a health check; one about an endpoint that has left is ignored. Cheap if nothing changes.

        During a reload an endpoint belongs to two clusters. So a verdict counts as news also when the endpoint knows it
        already and this cluster does not.
        """
        if endpoint.healthy == healthy and (endpoint in self._down) != healthy:
            return
        if endpoint not in self.endpoints:
            return
        endpoint.healthy = healthy
        self._rebuild()

    def set_verdicts(self, verdicts: Mapping[Endpoint, bool]) -> None:
        """Take many verdicts at once, about endpoints of this cluster."""
        changed = [endpoint for endpoint, healthy in verdicts.items() if endpoint.healthy != healthy]
        for endpoint in changed:
            endpoint.healthy = verdicts[endpoint]
        if changed:
            self._rebuild()

    def _rebuild(self) -> None:
        endpoints = self.endpoints
        self._down = frozenset(endpoint for endpoint in endpoints if not endpoint.healthy)
        served = [template.models for template in self._templates] + [endpoint.models for endpoint in endpoints]
        self._declared = frozenset(model for models in served for model in models)
        self.restricts_models = bool(self._declared)
        self._open = not served or not all(served)
        names = ("", *sorted(self._declared)) if self._declared else ()
        self._views = {name: self._views.get(name) or _View(self._make_balancer()) for name in names}
        for name, view in self._views.items():
            self._show(view, name, [endpoint for endpoint in endpoints if endpoint.serves(name)])
        self._show(self._other, "*", [endpoint for endpoint in endpoints if not endpoint.models])

    def _show(self, view: _View, model: str, endpoints: list[Endpoint]) -> None:
        panicked = view.panicking
        view.show(endpoints)
        if view.panicking and not panicked:
            self.panics += 1
            log.warning("no endpoint is healthy: all are used", cluster=self.name, model=model or "*")
        elif panicked and not view.panicking:
            log.info("health verdicts are heeded again", cluster=self.name, model=model or "*")

    def __repr__(self) -> str:
        return f"<Cluster {self.name} endpoints={len(self.endpoints)} unhealthy={len(self._down)}>"
