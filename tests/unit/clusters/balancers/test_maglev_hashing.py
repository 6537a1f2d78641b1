"""MaglevHashing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import pytest

from pixiu_py.clusters.balancers.maglev_hashing import SIZES, fill, filling, is_prime, table_size
from pixiu_py.clusters.base import LoadBalancer
from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.config.model import Consistent, HashKey
from pixiu_py.errors import ConfigError
from tests.fakes.clusters import endpoint_config, make_balancer, make_endpoints
from tests.fakes.exchange import make_exchange

BY_SESSION = HashKey(header="x-session")


def test_keys_go_where_they_went_in_earlier_versions_and_other_processes() -> None:
    """Pixiu of 2024 drew a new seed for each call: the same key went anywhere."""
    chooser = make_balancer("MaglevHashing", 5, hash_key=BY_SESSION)
    picked = [chooser.pick(make_exchange(headers={"x-session": f"s{number}"})) for number in range(8)]
    assert [endpoint.id for endpoint in picked if endpoint] == ["e3", "e2", "e3", "e1", "e0", "e0", "e1", "e4"]


@pytest.mark.parametrize(
    ("count", "size"), [(2, 307), (3, 307), (4, 617), (100, 19853), (9999, 999983), (50_000, 999983)]
)
def test_the_size_is_the_next_prime_with_a_hundred_places_for_each(count: int, size: int) -> None:
    assert table_size(count) == size


def test_a_configured_size_is_taken_unless_it_is_too_small_for_the_endpoints() -> None:
    assert table_size(3, 65537) == 65537
    assert table_size(8, 7) == table_size(8)


def test_sizes_are_primes_that_about_double() -> None:
    assert all(is_prime(size) for size in SIZES)
    assert all(1.5 < larger / smaller < 2.1 for smaller, larger in pairwise(SIZES))


@pytest.mark.parametrize(("number", "prime"), [(0, False), (1, False), (2, True), (9, False), (65537, True)])
def test_what_is_a_prime(number: int, prime: bool) -> None:
    assert is_prime(number) is prime


@pytest.mark.parametrize("size", [100, 1000003])
def test_a_size_that_is_no_prime_or_too_large_is_refused_at_start(size: int) -> None:
    with pytest.raises(ConfigError, match="maglev_table_size"):
        make_balancer("MaglevHashing", 2, consistent=Consistent(maglev_table_size=size))


def test_shares_of_the_table_differ_by_one_place_at_most() -> None:
    owners = Counter(fill([f"e{number}" for number in range(7)], 307))
    assert max(owners.values()) - min(owners.values()) <= 1
    assert sum(owners.values()) == 307


def test_an_endpoint_that_is_ill_for_a_while_does_not_change_the_size() -> None:
    """Another size moves every key. Four endpoints need 617 places, three only 307."""
    configured = [endpoint_config(f"e{number}", port=number + 1) for number in range(4)]
    chooser = make_balancer("MaglevHashing", 4, endpoints=configured)
    chooser.pick(make_exchange())
    chooser.update(chooser.endpoints[:3])
    chooser.pick(make_exchange())
    assert len(chooser._table) == 617  # type: ignore[attr-defined]


def sixty() -> LoadBalancer:
    configured = [endpoint_config(f"e{number}", port=number + 1) for number in range(60)]
    return make_balancer("MaglevHashing", 60, hash_key=BY_SESSION, endpoints=configured)


def picks(chooser: LoadBalancer, count: int = 200) -> list[Endpoint | None]:
    return [chooser.pick(make_exchange(headers={"x-session": f"s{number}"})) for number in range(count)]


async def test_a_change_holds_up_no_request() -> None:
    """The table is filled a little at a time; meanwhile the old one serves, and never with an endpoint that has left."""
    chooser = sixty()
    before = picks(chooser)
    gone, *rest = chooser.endpoints
    chooser.update(rest)
    meanwhile = picks(chooser)
    assert gone not in meanwhile
    assert [endpoint for endpoint in before if endpoint is not gone] == [
        now for endpoint, now in zip(before, meanwhile, strict=True) if endpoint is not gone
    ]
    turns = await until_no_task(chooser)
    assert turns > 3
    assert picks(chooser) == picks(fresh(rest))


async def test_the_latest_change_counts() -> None:
    """Also when the table of an earlier one is still being filled."""
    chooser = sixty()
    chooser.prepare()
    everyone = chooser.endpoints
    for endpoints in (everyone[:30], everyone[20:]):
        chooser.update(endpoints)
        assert set(picks(chooser)) <= set(endpoints)
    await until_no_task(chooser)
    assert picks(chooser) == picks(fresh(everyone[20:]))


async def test_nobody_of_the_old_table_is_left() -> None:
    """Then the new one is waited for."""
    chooser = make_balancer("MaglevHashing", 3, hash_key=BY_SESSION)
    chooser.prepare()
    others = make_endpoints(5)[3:]
    chooser.update(others)
    assert set(picks(chooser)) == set(others)
    assert not len(chooser.context.tasks)


def test_prepared_table_is_not_made_again() -> None:
    """It is there before the first request."""
    chooser = make_balancer("MaglevHashing", 3)
    chooser.prepare()
    table = chooser._table  # type: ignore[attr-defined]
    assert len(table) == 307
    chooser.pick(make_exchange())
    assert chooser._table is table  # type: ignore[attr-defined]


def test_filling_takes_short_steps() -> None:
    """In looks into the table, not in time: a hundred endpoints take many more than one."""
    assert len(list(filling([f"e{number}" for number in range(100)], 19853))) > 30


def fresh(endpoints: Sequence[Endpoint]) -> LoadBalancer:
    """A balancer that has never had others, and as many places as that of sixty."""
    configured = [endpoint_config(f"e{number}", port=number + 1) for number in range(60)]
    chooser = make_balancer("MaglevHashing", 0, hash_key=BY_SESSION, endpoints=configured)
    chooser.update(endpoints)
    chooser.prepare()
    return chooser


async def until_no_task(chooser: LoadBalancer) -> int:
    """Wait for what is being filled; tell for how many turns."""
    turns = 0
    async with asyncio.timeout(10):
        while len(chooser.context.tasks):
            await asyncio.sleep(0)
            turns += 1
    return turns
