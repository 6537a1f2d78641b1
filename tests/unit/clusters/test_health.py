"""Health checks: the verdict's hysteresis, and the checker that feeds it."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import pytest
from structlog.testing import capture_logs

from pixiu_py.clusters.cluster import Cluster
from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.clusters.health import CONCURRENCY, HealthChecker, HealthState
from pixiu_py.config.model import HealthCheck
from tests.fakes.clusters import cluster_context, endpoint_config, make_cluster

TWO_BAD_THREE_GOOD = HealthCheck(unhealthy_threshold=2, healthy_threshold=3)

# --- the verdict -----------------------------------------------------------------------------------------------------

#: (healthy, contrary results so far), result → (healthy, contrary results, changed)
TABLE = {
    ((True, 0), True): (True, 0, False),
    ((True, 0), False): (True, 1, False),
    ((True, 1), True): (True, 0, False),
    ((True, 1), False): (False, 0, True),
    ((False, 0), False): (False, 0, False),
    ((False, 0), True): (False, 1, False),
    ((False, 1), False): (False, 0, False),
    ((False, 1), True): (False, 2, False),
    ((False, 2), False): (False, 0, False),
    ((False, 2), True): (True, 0, True),
}


@pytest.mark.parametrize(("before", "good"), TABLE)
def test_every_result_in_every_state(before: tuple[bool, int], good: bool) -> None:
    state = HealthState(before[0])
    state.contrary = before[1]
    changed = state.probed(good, TWO_BAD_THREE_GOOD)
    assert (state.healthy, state.contrary, changed) == TABLE[before, good]


def test_one_bad_result_changes_nothing_at_the_default_thresholds() -> None:
    """In Pixiu the thresholds do nothing: one result flips the verdict."""
    state = HealthState()
    assert [state.probed(False, HealthCheck()) for _ in range(5)] == [False, False, False, False, True]
    assert [state.probed(True, HealthCheck()) for _ in range(5)] == [False, False, False, False, True]


def test_a_threshold_of_one_follows_each_result() -> None:
    check = HealthCheck(unhealthy_threshold=1, healthy_threshold=1)
    state = HealthState()
    assert [state.probed(good, check) for good in (False, True, False)] == [True, True, True]


def test_repr_shows_the_state() -> None:
    assert repr(HealthState(False)) == "<HealthState unhealthy contrary=0>"


# --- the checker -----------------------------------------------------------------------------------------------------

AT_ONCE = HealthCheck(unhealthy_threshold=1, healthy_threshold=1)


class Probes:
    """A probe that finds ill whatever id is in ``ill``; with ``hold`` set it waits until it is cleared."""

    def __init__(self, *ill: str) -> None:
        self.ill = set(ill)
        self.probed: list[str] = []
        self.running = 0
        self.most = 0
        self.released = asyncio.Event()
        self.released.set()

    async def __call__(self, endpoint: Endpoint, check: HealthCheck, tls: ssl.SSLContext | None) -> str:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.released.wait()
        finally:
            self.running -= 1
        self.probed.append(endpoint.id)
        return "ill" if endpoint.id in self.ill else ""


class Ticks:
    """A sleep that returns at once and ends the loop, by never returning, after a number of pauses."""

    def __init__(self, pauses: int) -> None:
        self.lengths: list[float] = []
        self.done = asyncio.Event()
        self._left = pauses

    async def __call__(self, seconds: float) -> None:
        self.lengths.append(seconds)
        if not self._left:
            self.done.set()
            await asyncio.Event().wait()
        self._left -= 1


def cluster_of(*ids: str) -> Cluster:
    configs = [endpoint_config(id_, port=port) for port, id_ in enumerate(ids, 1)]
    return make_cluster(*configs, health_checks=[HealthCheck()])


def checker(cluster: Cluster, probes: Any, check: HealthCheck = AT_ONCE, **changes: Any) -> HealthChecker:
    return HealthChecker(cluster, check, cluster_context(), probe=probes, **changes)


def well(cluster: Cluster) -> list[str]:
    return [endpoint.id for endpoint in cluster.candidates()]


async def test_what_a_round_finds_is_what_the_cluster_offers() -> None:
    cluster = cluster_of("a", "b", "c")
    probes = Probes("b")
    tested = checker(cluster, probes)
    await tested.round()
    assert well(cluster) == ["a", "c"]
    probes.ill = {"a"}
    await tested.round()
    assert well(cluster) == ["b", "c"]


async def test_verdicts_count_per_endpoint() -> None:
    cluster = cluster_of("a", "b")
    probes = Probes("a")
    tested = checker(cluster, probes, TWO_BAD_THREE_GOOD)
    await tested.round()
    probes.ill = {"a", "b"}
    await tested.round()
    assert well(cluster) == ["b"]


async def test_a_change_is_logged_once_with_its_reason() -> None:
    cluster = cluster_of("a", "b")
    probes = Probes("a")
    tested = checker(cluster, probes)
    with capture_logs() as logs:
        await tested.round()
        await tested.round()
        probes.ill.clear()
        await tested.round()
    assert [(entry["log_level"], entry["event"], entry["endpoint"], entry["reason"]) for entry in logs] == [
        ("warning", "endpoint is unhealthy", "a", "ill"),
        ("info", "endpoint is healthy", "a", ""),
    ]


async def test_endpoints_that_discovery_brings_are_probed_and_those_it_takes_are_forgotten() -> None:
    cluster = cluster_of("a", "b", "c")
    probes = Probes()
    tested = checker(cluster, probes)
    cluster.publish([(0, "10.0.0.1", 1)])
    await tested.round()
    cluster.publish([(0, "10.0.0.1", 1), (2, "10.0.0.1", 3)])
    await tested.round()
    assert probes.probed == ["a", "a", "c"]
    cluster.publish([])
    await tested.round()
    assert tested._states == {}


async def test_the_count_and_the_verdict_survive_a_change_of_the_others() -> None:
    cluster = cluster_of("a", "b")
    tested = checker(cluster, Probes("a"), TWO_BAD_THREE_GOOD)
    await tested.round()
    cluster.publish([(0, "10.0.0.1", 1)])
    cluster.publish([(0, "10.0.0.1", 1), (1, "10.0.0.1", 2)])
    await tested.round()
    assert well(cluster) == ["b"]


async def test_an_endpoint_that_is_ill_already_has_to_recover_by_the_threshold() -> None:
    """After a reload the new checker begins where the old one was."""
    cluster = cluster_of("a", "b")
    cluster.set_health(cluster.endpoints[0], healthy=False)
    tested = checker(cluster, Probes(), TWO_BAD_THREE_GOOD)
    seen = []
    for _ in range(3):
        await tested.round()
        seen.append(well(cluster))
    assert seen == [["b"], ["b"], ["a", "b"]]


async def test_an_endpoint_that_leaves_while_it_is_probed_does_no_harm() -> None:
    cluster = cluster_of("a", "b")
    probes = Probes("a")
    probes.released.clear()
    tested = checker(cluster, probes)
    probing = asyncio.get_running_loop().create_task(tested.round())
    while probes.running < 2:
        await asyncio.sleep(0)
    cluster.publish([(1, "10.0.0.1", 2)])
    probes.released.set()
    await probing
    assert well(cluster) == ["b"]


async def test_no_more_probes_run_at_once_than_the_limit() -> None:
    cluster = cluster_of(*(f"e{number}" for number in range(CONCURRENCY * 2)))
    probes = Probes()
    probes.released.clear()
    probing = asyncio.get_running_loop().create_task(checker(cluster, probes).round())
    while probes.running < CONCURRENCY:
        await asyncio.sleep(0)
    probes.released.set()
    await probing
    assert probes.most == CONCURRENCY
    assert len(probes.probed) == CONCURRENCY * 2


async def test_rounds_begin_after_the_delay_and_a_part_of_an_interval_and_go_on_at_the_interval() -> None:
    ticks = Ticks(3)
    probes = Probes()
    check = HealthCheck(initial_delay_seconds=7.0, interval=2.0)
    tested = checker(cluster_of("a"), probes, check, sleep=ticks)
    tested.start()
    await ticks.done.wait()
    assert 7.0 <= ticks.lengths[0] < 9.0
    assert ticks.lengths[1:] == [2.0, 2.0, 2.0]
    assert probes.probed == ["a", "a", "a"]
    await tested.close()


async def test_the_time_that_probes_take_is_part_of_the_interval() -> None:
    now = 0.0
    ticks = Ticks(2)

    async def slow(endpoint: Endpoint, check: HealthCheck, tls: ssl.SSLContext | None) -> str:
        nonlocal now
        now += 0.75
        return ""

    context = cluster_context(clock=lambda: now)
    tested = HealthChecker(cluster_of("a"), HealthCheck(interval=2.0), context, probe=slow, sleep=ticks)
    tested.start()
    await ticks.done.wait()
    assert ticks.lengths[1:] == [1.25, 1.25]
    await tested.close()


async def test_an_interval_of_zero_makes_no_busy_loop() -> None:
    ticks = Ticks(1)
    tested = checker(cluster_of("a"), Probes(), HealthCheck(interval=0.0), sleep=ticks)
    tested.start()
    await ticks.done.wait()
    assert ticks.lengths[1] == 0.1
    await tested.close()


async def test_close_ends_probes_that_are_under_way() -> None:
    probes = Probes()
    probes.released.clear()
    before = len(asyncio.all_tasks())
    tested = checker(cluster_of("a", "b"), probes, sleep=Ticks(1))
    tested.start()
    while probes.running < 2:
        await asyncio.sleep(0)
    await tested.close()
    assert probes.running == 0
    assert len(asyncio.all_tasks()) == before


async def test_tls_contexts_are_made_for_https_only_and_as_the_endpoint_says() -> None:
    seen: dict[str, ssl.SSLContext | None] = {}

    async def look(endpoint: Endpoint, check: HealthCheck, tls: ssl.SSLContext | None) -> str:
        seen[endpoint.id] = tls
        return ""

    configs = [
        endpoint_config(id_, port=port, tls_verify=id_ != "lax") for port, id_ in enumerate(("a", "b", "lax"), 1)
    ]
    cluster = make_cluster(*configs)
    await checker(cluster, look, HealthCheck(protocol="http")).round()
    assert set(seen.values()) == {None}
    await checker(cluster, look, HealthCheck(protocol="https")).round()
    assert seen["a"] is seen["b"]
    assert [context.verify_mode for context in seen.values() if context] == [
        ssl.CERT_REQUIRED,
        ssl.CERT_REQUIRED,
        ssl.CERT_NONE,
    ]


async def test_a_real_server_that_stops_is_left_out_and_taken_back() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    other = await asyncio.start_server(serve, "127.0.0.1", 0)
    ports = {"a": port, "b": other.sockets[0].getsockname()[1]}
    cluster = make_cluster(*(endpoint_config(id_, "127.0.0.1", number) for id_, number in ports.items()))
    tested = HealthChecker(cluster, AT_ONCE, cluster_context())
    await tested.round()
    assert well(cluster) == ["a", "b"]
    server.close()
    await server.wait_closed()
    await tested.round()
    assert well(cluster) == ["b"]
    server = await asyncio.start_server(serve, "127.0.0.1", port)
    await tested.round()
    assert well(cluster) == ["a", "b"]
    for listening in (server, other):
        listening.close()
        await listening.wait_closed()
