"""All clusters of one gateway: built from the configuration without I/O, started, and closed in reverse."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import structlog

from pixiu_py.clusters.base import Address, Discovery, LoadBalancer
from pixiu_py.clusters.build import Template, build_templates
from pixiu_py.clusters.cluster import Cluster
from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.clusters.health import HealthChecker
from pixiu_py.config.model import Cluster as ClusterConfig
from pixiu_py.errors import ConfigError, Problem
from pixiu_py.registry import Entry, Family
from pixiu_py.tasks import Tasks

if TYPE_CHECKING:
    from pixiu_py.filters.base import Context

log = structlog.get_logger("pixiu_py.clusters")

PATH = "static_resources.clusters"


@dataclass(frozen=True, slots=True)
class _Member:
    """A cluster with what keeps it up to date."""

    cluster: Cluster
    discovery: Discovery
    health: HealthChecker | None

    async def start(self) -> None:
        await self.discovery.start()
        self.cluster.prepare()
        if self.health is not None:
            self.health.start()

    async def close(self) -> None:
        """Close both, also when one of them fails."""
        try:
            if self.health is not None:
                await self.health.close()
        finally:
            await self.discovery.close()


class ClusterManager:
    """The clusters by name. Empty until ``build``; their endpoints are known after ``start``."""

    def __init__(self) -> None:
        self._members: dict[str, _Member] = {}
        self._tasks = Tasks("clusters")
        #: During a reload, the manager that shares endpoints with this one: whichever ends first must leave them be.
        self._other: ClusterManager | None = None

    @property
    def clusters(self) -> list[Cluster]:
        """Every cluster, in config order."""
        return [member.cluster for member in self._members.values()]

    def get(self, name: str) -> Cluster | None:
        """The cluster of that name, or None."""
        member = self._members.get(name)
        return member.cluster if member is not None else None

    def build(self, configs: Sequence[ClusterConfig], context: Context, previous: ClusterManager | None = None) -> None:
        """Make the clusters. Opens nothing and changes nothing outside; raises ``ConfigError`` with every problem.

        ``previous`` is the manager of the gateway that is being reloaded: endpoints that stay what they were are taken
        from it, with their connections, health and cooldowns, and so are addresses, until newer ones are found.
        """
        problems: list[Problem] = []
        members: dict[str, _Member] = {}
        for index, config in enumerate(configs):
            path = f"{PATH}[{index}]"
            named = msgspec.structs.replace(config, name=config.name or f"cluster-{index + 1}")
            if named.name in members:
                problems.append(Problem(f"{path}.name", f"cluster {named.name!r} exists already"))
                continue
            member = _build(named, path, context, previous, problems)
            if member is not None:
                members[named.name] = member
        if problems:
            raise ConfigError(problems)
        self._members = members
        if context.peers is not None:
            for member in members.values():
                context.peers.agreement.join(member.cluster)
        if previous is not None:
            self._other, previous._other = previous, self

    async def start(self) -> None:
        """Find the addresses and begin health checks. All clusters at once: one with slow DNS does not hold up others.

        Raises the first error, after every cluster has started or failed; ``close`` is due also then.
        """
        starting = [self._tasks.spawn(member.start(), name) for name, member in self._members.items()]
        results = await asyncio.gather(*starting, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def close(self) -> None:
        """Stop everything, in reverse. Endpoints are marked removed, unless a reload lets them live on elsewhere."""
        await self._tasks.close()
        for name, member in reversed(self._members.items()):
            try:
                await member.close()
            except Exception:  # one cluster's failure must not keep the others open
                log.exception("cluster failed to close", cluster=name)
        other, self._other = self._other, None
        if other is not None and other._other is self:
            other._other = None
        kept = other._endpoints() if other is not None else []
        for endpoint in set(self._endpoints()).difference(kept):
            endpoint.removed = True

    def _endpoints(self) -> list[Endpoint]:
        return [endpoint for cluster in self.clusters for endpoint in cluster.endpoints]


def _build(
    config: ClusterConfig, path: str, context: Context, previous: ClusterManager | None, problems: list[Problem]
) -> _Member | None:
    discovery_entry = _entry(context, Family.CLUSTER, config.type, f"{path}.type", problems)
    balancer_entry = _entry(context, Family.LOAD_BALANCER, config.lb_policy, f"{path}.lb_policy", problems)
    templates = build_templates(config.name, config.endpoints, context.registry, f"{path}.endpoints", problems)
    if discovery_entry is None or balancer_entry is None or len(templates) < len(config.endpoints):
        return None

    def make_balancer() -> LoadBalancer:
        balancer: LoadBalancer = balancer_entry.cls(config, context)
        return balancer

    try:
        cluster = Cluster(config, templates, make_balancer, many=discovery_entry.cls.many)
        discovery: Discovery = discovery_entry.cls(config, context, cluster.publish)
    except ConfigError as error:
        problems.extend(Problem(f"{path}.{problem.path}", problem.message) for problem in error.problems)
        return None
    before = previous.get(config.name) if previous is not None else None
    if before is not None and before.many == cluster.many:
        discovery.known = _still_wanted(before, templates)
        cluster.publish(discovery.known, before.endpoints)
    return _Member(cluster, discovery, _checker(cluster, config, context))


def _entry(context: Context, family: Family, kind: str, path: str, problems: list[Problem]) -> Entry | None:
    entry = context.registry.find(family, kind)
    if entry is None:
        problems.append(Problem(path, f"unknown {family.value} {kind!r}{context.registry.suggest(family, kind)}"))
    return entry


def _still_wanted(before: Cluster, templates: Sequence[Template]) -> list[Address]:
    """The addresses of a cluster's predecessor whose endpoints are configured still, and at the same place."""
    positions = {(template.id, template.location.host): position for position, template in enumerate(templates)}
    addresses = []
    for endpoint in before.endpoints:
        old = endpoint.settings
        position = positions.get((old.id, old.location.host)) if isinstance(old, Template) else None
        if position is not None and endpoint.port == templates[position].location.port:
            addresses.append((position, endpoint.host, endpoint.port))
    return addresses


def _checker(cluster: Cluster, config: ClusterConfig, context: Context) -> HealthChecker | None:
    checks = config.health_checks
    return HealthChecker(cluster, checks[0], context) if checks else None  # the first alone, as in Pixiu
