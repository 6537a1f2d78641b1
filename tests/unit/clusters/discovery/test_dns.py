"""StrictDNS and LogicalDns: when they ask, what they publish, and what a failure changes (nothing)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from pixiu_py.clusters.base import Address
from pixiu_py.clusters.discovery.dns import LogicalDns, StrictDNS, refresh_pause, retry_pause
from pixiu_py.clusters.discovery.resolver import Answer
from pixiu_py.clusters.manager import ClusterManager
from pixiu_py.config.model import Cluster, DnsSettings, Endpoint, SocketAddress
from pixiu_py.errors import ConnectFailed
from tests.fakes.clusters import cluster_context
from tests.fakes.dns import FakeDns


class Names:
    """A resolver whose answers the test sets; a name without one cannot be resolved."""

    def __init__(self, **answers: Answer) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def resolve(self, name: str) -> Answer:
        self.asked.append(name)
        if name not in self.answers:
            raise ConnectFailed("no such name")
        return self.answers[name]


class Pauses:
    """A sleep that ends when the test says so; remembers how long it was to last."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[float] = asyncio.Queue()
        self._over = asyncio.Semaphore(0)

    async def __call__(self, seconds: float) -> None:
        self.asked.put_nowait(seconds)
        await self._over.acquire()

    async def end(self) -> float:
        """End one pause, and return how long the next one is to be."""
        self._over.release()
        return await self.asked.get()


def answer(*addresses: str, ttl: float = 60.0) -> Answer:
    return Answer(addresses, ttl)


class Running:
    """A discovery over these domains, with what it published."""

    def __init__(self, kind: type[Any], names: Names, *domains: str, **dns: Any) -> None:
        self.names = names
        self.pauses = Pauses()
        self.published: list[list[Address]] = []
        endpoints = [Endpoint(socket_address=SocketAddress(domains=[domain])) for domain in domains]
        self.discovery = kind(
            Cluster(name="main", endpoints=endpoints, dns=DnsSettings(**dns)),
            cluster_context(),
            lambda addresses: self.published.append(list(addresses)),
            resolver=names,
            sleep=self.pauses,
        )

    async def start(self) -> float:
        """Start; returns the length of the first pause."""
        await self.discovery.start()
        return await self.pauses.asked.get()


@pytest_asyncio.fixture
async def closing() -> AsyncIterator[list[Running]]:
    running: list[Running] = []
    yield running
    for each in running:
        await each.discovery.close()


async def test_every_address_of_every_name_is_published_with_its_endpoint_and_port(closing: list[Running]) -> None:
    names = Names(a=answer("192.0.2.2", "192.0.2.1"), b=answer("192.0.2.9"))
    running = Running(StrictDNS, names, "a:8000", "b:9000")
    closing.append(running)
    await running.start()
    assert running.published == [[(0, "192.0.2.1", 8000), (0, "192.0.2.2", 8000), (1, "192.0.2.9", 9000)]]


async def test_a_name_that_several_endpoints_bear_is_asked_for_once(closing: list[Running]) -> None:
    """Three keys at one provider are three endpoints with one name."""
    running = Running(StrictDNS, Names(a=answer("192.0.2.1")), "a:80", "a:80", "a:81")
    closing.append(running)
    await running.start()
    assert running.names.asked == ["a"]
    assert running.published == [[(0, "192.0.2.1", 80), (1, "192.0.2.1", 80), (2, "192.0.2.1", 81)]]


async def test_a_literal_address_is_published_without_asking(closing: list[Running]) -> None:
    running = Running(StrictDNS, Names(a=answer("192.0.2.1")), "a:80", "192.0.2.7:80", "[::1]:80")
    closing.append(running)
    await running.start()
    assert running.names.asked == ["a"]
    assert running.published == [[(0, "192.0.2.1", 80), (1, "192.0.2.7", 80), (2, "::1", 80)]]


async def test_it_asks_again_when_the_ttl_is_over_and_publishes_changes_only(closing: list[Running]) -> None:
    running = Running(StrictDNS, Names(a=answer("192.0.2.1", "192.0.2.2", ttl=7.0)), "a:80")
    closing.append(running)
    assert await running.start() == 7.0
    running.names.answers["a"] = answer("192.0.2.2", "192.0.2.1", ttl=9.0)  # rotated, as name servers do
    assert await running.pauses.end() == 9.0
    assert len(running.published) == 1
    running.names.answers["a"] = answer("192.0.2.3")
    await running.pauses.end()
    assert running.published[1:] == [[(0, "192.0.2.3", 80)]]


async def test_a_failure_keeps_the_last_good_addresses_and_is_told_once_per_change(closing: list[Running]) -> None:
    running = Running(StrictDNS, Names(a=answer("192.0.2.1")), "a:80", min_ttl=1.0)
    closing.append(running)
    with capture_logs() as logs:
        await running.start()
        del running.names.answers["a"]
        assert [await running.pauses.end() for _ in range(6)] == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
        running.names.answers["a"] = answer("192.0.2.1")
        await running.pauses.end()
    assert [(entry["log_level"], entry["event"]) for entry in logs] == [
        ("warning", "name cannot be resolved"),
        ("info", "name is resolved again"),
    ]
    assert (logs[0]["kept"], logs[0]["reason"]) == (1, "no such name")
    assert running.published == [[(0, "192.0.2.1", 80)]]


async def test_a_name_that_cannot_be_resolved_does_not_stop_the_start_and_appears_later(closing: list[Running]) -> None:
    running = Running(StrictDNS, Names(b=answer("192.0.2.9", ttl=300.0)), "a:80", "b:80")
    closing.append(running)
    await running.start()
    assert running.published == [[(1, "192.0.2.9", 80)]]
    running.names.answers["a"] = answer("192.0.2.1")
    await running.pauses.asked.get()
    await running.pauses.end()
    await running.pauses.end()
    assert running.published[-1] == [(0, "192.0.2.1", 80), (1, "192.0.2.9", 80)]


async def test_what_the_predecessor_knew_stays_while_nothing_newer_is_known(closing: list[Running]) -> None:
    running = Running(StrictDNS, Names(b=answer("192.0.2.9")), "a:80", "b:80")
    closing.append(running)
    running.discovery.known = [(0, "192.0.2.1", 80), (0, "192.0.2.2", 80), (1, "192.0.2.8", 80)]
    await running.start()
    assert running.published == [[(0, "192.0.2.1", 80), (0, "192.0.2.2", 80), (1, "192.0.2.9", 80)]]


async def test_logical_dns_keeps_its_one_address_as_long_as_the_name_has_it(closing: list[Running]) -> None:
    running = Running(LogicalDns, Names(a=answer("192.0.2.1", "192.0.2.2")), "a:80")
    closing.append(running)
    await running.start()
    running.names.answers["a"] = answer("192.0.2.2", "192.0.2.1")
    await running.pauses.end()
    assert running.published == [[(0, "192.0.2.1", 80)]]
    running.names.answers["a"] = answer("192.0.2.3", "192.0.2.2")
    await running.pauses.end()
    assert running.published[1:] == [[(0, "192.0.2.3", 80)]]


async def test_closing_ends_the_asking_also_while_the_first_answer_is_awaited() -> None:
    class Hanging(Names):
        async def resolve(self, name: str) -> Answer:
            self.asked.append(name)
            await asyncio.Event().wait()
            raise AssertionError

    running = Running(StrictDNS, Hanging(), "a:80")
    starting = asyncio.get_running_loop().create_task(running.discovery.start())
    while not running.names.asked:
        await asyncio.sleep(0)
    before = len(asyncio.all_tasks())
    await running.discovery.close()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert len(asyncio.all_tasks()) == before - 2


@pytest.mark.parametrize(("ttl", "pause"), [(0.0, 1.0), (0.5, 1.0), (30.0, 30.0), (86400.0, 300.0)])
def test_a_ttl_is_honoured_within_its_limits(ttl: float, pause: float) -> None:
    assert refresh_pause(ttl, min_ttl=1.0, max_ttl=300.0) == pause


def test_limits_of_zero_make_no_busy_loop() -> None:
    assert refresh_pause(0.0, min_ttl=0.0, max_ttl=0.0) == 0.1
    assert retry_pause(1, min_ttl=0.0, max_ttl=0.0) == 0.1


@pytest.mark.parametrize(
    ("failures", "max_ttl", "pause"), [(1, 300.0, 1.0), (3, 300.0, 4.0), (10**6, 300.0, 10.0), (10**6, 5.0, 5.0)]
)
def test_pauses_after_failures_grow_up_to_a_limit(failures: int, max_ttl: float, pause: float) -> None:
    assert retry_pause(failures, min_ttl=1.0, max_ttl=max_ttl) == pause


@pytest.mark.parametrize(("kind", "ids"), [("StrictDNS", ["a@192.0.2.1", "a@192.0.2.2"]), ("LogicalDns", ["a"])])
async def test_a_cluster_follows_a_real_name_server(kind: str, ids: list[str]) -> None:
    dns = FakeDns()
    dns.records["api.test"] = [("192.0.2.1", 60), ("192.0.2.2", 60)]
    endpoint = Endpoint(id="a", socket_address=SocketAddress(domains=["api.test:8000"]))
    settings = DnsSettings(servers=[await dns.start()])
    context = cluster_context()
    manager: ClusterManager = context.clusters
    manager.build([Cluster(name="main", type=kind, endpoints=[endpoint], dns=settings)], context)
    await manager.start()
    cluster = manager.get("main")
    assert cluster is not None
    assert [found.id for found in cluster.endpoints] == ids
    assert {found.host_header for found in cluster.endpoints} == {"api.test:8000"}
    assert cluster.find("a") is cluster.endpoints[0]
    await manager.close()
    dns.close()
