"""MaglevHashing."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from pixiu_py.clusters.balancers.maglev_hashing import SIZES, fill, is_prime, table_size
from pixiu_py.config.model import Consistent, HashKey
from pixiu_py.errors import ConfigError
from tests.fakes.clusters import endpoint_config, make_balancer
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
def test_primes(number: int, prime: bool) -> None:
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
