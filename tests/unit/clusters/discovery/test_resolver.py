"""The resolver on aiodns, against a name server on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from pixiu_py.clusters.discovery.resolver import Answer, DnsResolver, has_route, is_server
from pixiu_py.config.model import DnsSettings
from pixiu_py.errors import ConfigError, ConnectFailed
from tests.fakes.dns import SERVFAIL, A, FakeDns


@pytest_asyncio.fixture
async def dns() -> AsyncIterator[FakeDns]:
    server = FakeDns()
    yield server
    server.close()


async def resolver(dns: FakeDns, timeout: float = 5.0, *, routable: bool = True) -> DnsResolver:
    settings = DnsSettings(servers=[await dns.start()], timeout=timeout)
    return DnsResolver(settings, routable=lambda address: routable)


async def test_all_addresses_come_from_the_configured_server_with_the_shortest_ttl(dns: FakeDns) -> None:
    dns.records["api.test"] = [("192.0.2.1", 60), ("192.0.2.2", 30)]
    answer = await (await resolver(dns)).resolve("api.test")
    assert set(answer.addresses) == {"192.0.2.1", "192.0.2.2"}
    assert answer.ttl == 30
    assert ("api.test", A) in dns.asked


async def test_the_ttl_of_an_alias_counts_too(dns: FakeDns) -> None:
    dns.records["api.test"] = [("real.test", 5)]
    dns.records["real.test"] = [("192.0.2.1", 60)]
    assert await (await resolver(dns)).resolve("api.test") == Answer(("192.0.2.1",), 5.0)


async def test_each_lookup_asks_anew_however_long_the_last_answer_is_valid(dns: FakeDns) -> None:
    """``max_ttl`` may be shorter than the TTL: no cache may come in between."""
    dns.records["api.test"] = [("192.0.2.1", 86400)]
    tested = await resolver(dns)
    await tested.resolve("api.test")
    dns.records["api.test"] = [("192.0.2.9", 86400)]
    assert (await tested.resolve("api.test")).addresses == ("192.0.2.9",)


async def test_a_server_with_both_families_is_one_server_and_ipv4_is_taken(dns: FakeDns) -> None:
    dns.records["api.test"] = [("2001:db8::1", 60), ("192.0.2.1", 60)]
    assert (await (await resolver(dns)).resolve("api.test")).addresses == ("192.0.2.1",)


async def test_ipv6_is_taken_where_ipv4_leads_nowhere(dns: FakeDns) -> None:
    dns.records["api.test"] = [("2001:db8::1", 60), ("192.0.2.1", 60)]
    assert (await (await resolver(dns, routable=False)).resolve("api.test")).addresses == ("2001:db8::1",)


async def test_a_name_with_one_family_only_is_used_as_it_is(dns: FakeDns) -> None:
    dns.records.update({"six.test": [("2001:db8::1", 60)], "four.test": [("192.0.2.1", 60)]})
    tested = await resolver(dns, routable=False)
    assert (await tested.resolve("six.test")).addresses == ("2001:db8::1",)
    assert (await tested.resolve("four.test")).addresses == ("192.0.2.1",)


async def test_localhost_is_known_without_asking(dns: FakeDns) -> None:
    assert await (await resolver(dns)).resolve("localhost") == Answer(("127.0.0.1",), 0.0)
    assert dns.asked == []


async def test_a_name_that_does_not_exist_is_a_failure(dns: FakeDns) -> None:
    with pytest.raises(ConnectFailed, match="not found"):
        await (await resolver(dns)).resolve("nowhere.test")


async def test_a_name_without_an_address_is_a_failure(dns: FakeDns) -> None:
    dns.records["empty.test"] = []
    with pytest.raises(ConnectFailed):
        await (await resolver(dns)).resolve("empty.test")


async def test_a_server_that_fails_is_a_failure(dns: FakeDns) -> None:
    dns.failure = SERVFAIL
    with pytest.raises(ConnectFailed, match="failure"):
        await (await resolver(dns)).resolve("api.test")


async def test_a_server_that_is_silent_is_a_failure_after_the_timeout(dns: FakeDns) -> None:
    dns.silent = True
    with pytest.raises(ConnectFailed):
        await (await resolver(dns, timeout=0.2)).resolve("api.test")
    assert dns.asked


async def test_a_name_that_is_none_is_a_failure_and_not_a_crash(dns: FakeDns) -> None:
    tested = await resolver(dns)
    for name in ("a..b", "x" * 300, "ä" * 70):
        with pytest.raises(ConnectFailed):
            await tested.resolve(name)


@pytest.mark.parametrize("server", ["192.0.2.1", "192.0.2.1:53", "::1", "[::1]", "[::1]:53"])
def test_name_servers_are_addresses_with_or_without_a_port(server: str) -> None:
    assert is_server(server)


@pytest.mark.parametrize("server", ["", "dns.example", "192.0.2.1:", "192.0.2.1:x", "192.0.2.1:65536", "[::1"])
def test_a_name_server_that_is_no_address_stops_the_start(server: str) -> None:
    with pytest.raises(ConfigError, match=r"dns\.servers"):
        DnsResolver(DnsSettings(servers=["192.0.2.1", server]))


async def test_a_lookup_can_be_cancelled(dns: FakeDns) -> None:
    dns.silent = True
    lookup = asyncio.get_running_loop().create_task((await resolver(dns)).resolve("api.test"))
    while not dns.asked:
        await asyncio.sleep(0.001)
    lookup.cancel()
    with pytest.raises(asyncio.CancelledError):
        await lookup


def test_there_is_a_route_to_this_host_and_none_to_what_is_no_address() -> None:
    assert has_route("127.0.0.1")
    assert not has_route("255.255.255.255")
