"""The clusters of a gateway: built or refused as a whole, started together, closed in reverse, kept over a reload."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import pytest
from structlog.testing import capture_logs

from pixiu_py.clusters.base import Discovery
from pixiu_py.clusters.manager import ClusterManager
from pixiu_py.config.model import Cluster as ClusterConfig
from pixiu_py.config.model import Consistent, HealthCheck
from pixiu_py.config.types import RetryPolicyRef, Secret
from pixiu_py.errors import ConfigError, StartError
from pixiu_py.filters.base import Context
from pixiu_py.registry import Family, plugin
from tests.fakes.clusters import cluster_context, endpoint_config


def cluster(name: str = "main", *endpoints: Any, **changes: Any) -> ClusterConfig:
    return ClusterConfig(name=name, endpoints=list(endpoints) or [endpoint_config("a")], **changes)


def build(
    *configs: ClusterConfig, context: Context | None = None, previous: ClusterManager | None = None
) -> ClusterManager:
    context = context or cluster_context()
    context.clusters.build(configs, context, previous)
    return context.clusters


@plugin(Family.CLUSTER, "Recorded")
class Recorded(Discovery):
    """Records its life; fails or hangs where its cluster's name says so."""

    life: ClassVar[list[str]] = []

    async def start(self) -> None:
        self.life.append(f"start {self.config.name}")
        if self.config.name == "hangs":
            await asyncio.Event().wait()
        if self.config.name == "fails":
            raise StartError("no")
        self.publish([])

    async def close(self) -> None:
        self.life.append(f"close {self.config.name}")
        if self.config.name == "breaks":
            raise RuntimeError("cannot close")


@pytest.fixture
def context() -> Context:
    context = cluster_context()
    context.registry.add(Recorded)
    Recorded.life.clear()
    return context


# --- building --------------------------------------------------------------------------------------------------------


def test_clusters_are_found_by_name_and_listed_in_config_order() -> None:
    manager = build(cluster("b"), cluster("a"))
    assert [found.name for found in manager.clusters] == ["b", "a"]
    assert manager.get("a") is manager.clusters[1]
    assert manager.get("c") is None


def test_a_cluster_without_a_name_gets_its_number() -> None:
    assert [found.name for found in build(cluster("x"), cluster("")).clusters] == ["x", "cluster-2"]


async def test_endpoints_of_a_static_cluster_are_known_after_start_and_not_before() -> None:
    manager = build(cluster())
    assert not manager.clusters[0].endpoints
    await manager.start()
    assert [endpoint.id for endpoint in manager.clusters[0].endpoints] == ["a"]
    await manager.close()


def test_every_problem_of_every_cluster_is_reported_at_once_with_its_path() -> None:
    with pytest.raises(ConfigError) as caught:
        build(
            cluster("a", type="Statik", lb_policy="RoundRobbin"),
            cluster("a"),
            cluster("a"),
            cluster("b", endpoint_config("x", retry_policy=RetryPolicyRef(name="?"))),
            cluster("c", lb_policy="MaglevHashing", consistent=Consistent(maglev_table_size=100)),
        )
    assert [str(problem) for problem in caught.value.problems] == [
        "static_resources.clusters[0].type: unknown cluster 'Statik'; did you mean 'Static'?",
        "static_resources.clusters[0].lb_policy: unknown load balancer 'RoundRobbin'; did you mean 'RoundRobin'?",
        "static_resources.clusters[2].name: cluster 'a' exists already",
        "static_resources.clusters[3].endpoints[0].llm_meta.retry_policy: unknown retry policy '?'",
        "static_resources.clusters[4].consistent.maglev_table_size: 100 is not a prime of at most 999983",
    ]


def test_pixius_defaults_work_a_cluster_without_type_and_the_samples_lb() -> None:
    manager = build(cluster("a", type="EDS", lb_policy="lb"))
    assert manager.get("a") is not None


# --- starting and closing --------------------------------------------------------------------------------------------


async def test_clusters_close_in_the_reverse_of_their_order(context: Context) -> None:
    manager = build(cluster("a", type="Recorded"), cluster("b", type="Recorded"), context=context)
    await manager.start()
    await manager.close()
    assert Recorded.life == ["start a", "start b", "close b", "close a"]


async def test_a_failed_start_is_raised_and_everything_can_be_closed_after_it(context: Context) -> None:
    manager = build(*(cluster(name, type="Recorded") for name in ("a", "fails", "b")), context=context)
    with pytest.raises(StartError):
        await manager.start()
    await manager.close()
    assert Recorded.life[3:] == ["close b", "close fails", "close a"]


async def test_a_start_that_hangs_ends_with_close(context: Context) -> None:
    manager = build(cluster("hangs", type="Recorded"), context=context)
    starting = asyncio.get_running_loop().create_task(manager.start())
    while not Recorded.life:
        await asyncio.sleep(0)
    await manager.close()
    with pytest.raises(asyncio.CancelledError):
        await starting


async def test_a_cluster_that_fails_to_close_does_not_keep_the_others_open(context: Context) -> None:
    manager = build(cluster("a", type="Recorded"), cluster("breaks", type="Recorded"), context=context)
    await manager.start()
    with capture_logs() as logs:
        await manager.close()
    assert Recorded.life[2:] == ["close breaks", "close a"]
    assert [entry["cluster"] for entry in logs] == ["breaks"]


async def test_the_first_health_check_runs_from_start_to_close() -> None:
    checks = [HealthCheck(initial_delay_seconds=60.0), HealthCheck(initial_delay_seconds=60.0)]
    manager = build(cluster(health_checks=checks))
    before = len(asyncio.all_tasks())
    await manager.start()
    assert len(asyncio.all_tasks()) == before + 1
    await manager.close()
    assert len(asyncio.all_tasks()) == before


async def test_endpoints_are_marked_when_their_manager_closes() -> None:
    manager = build(cluster())
    await manager.start()
    endpoint = manager.clusters[0].endpoints[0]
    await manager.close()
    assert endpoint.removed


# --- reloading -------------------------------------------------------------------------------------------------------


def two(**changes: Any) -> ClusterConfig:
    """Endpoint ``a`` as it always is, and ``b`` with ``changes``."""
    return cluster("main", endpoint_config("a", port=1), endpoint_config("b", port=2, **changes))


async def test_a_reload_keeps_the_endpoints_that_have_not_changed() -> None:
    old = build(two())
    await old.start()
    old.clusters[0].endpoints[0].in_flight = 7
    new = build(two(api_key=Secret("new")), previous=old)
    await new.start()
    a, b = old.clusters[0].endpoints
    assert new.clusters[0].endpoints[0] is a
    assert new.clusters[0].endpoints[1] is not b
    await old.close()
    assert [a.removed, b.removed] == [False, True]
    await new.close()
    assert a.removed


async def test_a_reload_that_is_called_off_leaves_the_running_endpoints_alone() -> None:
    old = build(two())
    await old.start()
    new = build(two(), previous=old)
    await new.start()
    await new.close()
    assert [endpoint.removed for endpoint in old.clusters[0].endpoints] == [False, False]
    await old.close()
    assert [endpoint.removed for endpoint in old.clusters[0].endpoints] == [True, True]


async def test_an_old_gateway_that_drains_over_two_reloads_spares_what_still_lives() -> None:
    managers = [build(two())]
    await managers[0].start()
    for _ in range(2):
        managers.append(build(two(), previous=managers[-1]))
        await managers[-1].start()
    first, second, third = managers
    [a, b] = third.clusters[0].endpoints
    await first.close()
    await second.close()
    assert [a.removed, b.removed] == [False, False]
    await third.close()
    assert [a.removed, b.removed] == [True, True]


async def test_addresses_of_the_predecessor_are_used_until_newer_ones_are_found(context: Context) -> None:
    @plugin(Family.CLUSTER, "Once")
    class Once(Discovery):
        """Finds addresses in the first gateway only: DNS fails while the second starts."""

        many: ClassVar[bool] = True
        found: ClassVar[list[Any]] = [[(0, "192.0.2.1", 80)]]
        seen: ClassVar[list[Any]] = []

        async def start(self) -> None:
            self.seen.append(list(self.known))
            if self.found:
                self.publish(self.found.pop())

        async def close(self) -> None:
            pass

    context.registry.add(Once)
    old = build(cluster(type="Once"), context=context)
    await old.start()
    context.clusters = ClusterManager()
    new = build(cluster(type="Once"), context=context, previous=old)
    await new.start()
    assert new.clusters[0].endpoints == old.clusters[0].endpoints
    assert Once.seen == [[], [(0, "192.0.2.1", 80)]]


async def test_addresses_of_an_endpoint_that_has_moved_are_not_used() -> None:
    old = build(cluster("main", endpoint_config("a", host="10.0.0.1")))
    await old.start()
    new = build(cluster("main", endpoint_config("a", host="10.0.0.2")), previous=old)
    assert new.clusters[0].endpoints == ()


async def test_an_unhealthy_endpoint_stays_so_over_a_reload_with_health_checks() -> None:
    checked: dict[str, Any] = {"health_checks": [HealthCheck(initial_delay_seconds=60.0)]}
    old = build(cluster(**checked))
    await old.start()
    old.clusters[0].set_health(old.clusters[0].endpoints[0], healthy=False)
    new = build(cluster(**checked), previous=old)
    await new.start()
    assert not new.clusters[0].endpoints[0].healthy
    await old.close()
    await new.close()
