"""The ledger: tokens that are pending, work that fades, prefixes under way, accounts that are closed."""

from __future__ import annotations

import math

import pytest

from pixiu_py.filters.ai.kvcache.ledger import Ledger
from tests.fakes.clusters import make_endpoints


def test_work_fades() -> None:
    """To a third after the memory's time."""
    ledger = Ledger(60.0)
    account = ledger.of(make_endpoints(1)[0])
    ledger.add_work(account, 100, 5.0)
    assert account.work * ledger.scale(5.0) == pytest.approx(100)
    assert account.work * ledger.scale(65.0) == pytest.approx(100 / math.e)
    ledger.add_work(account, 10, 65.0)
    assert account.work * ledger.scale(65.0) == pytest.approx(10 + 100 / math.e)


def test_work_fades_for_years() -> None:
    """The scale is renewed before it overflows, and nobody's work jumps."""
    ledger = Ledger(1.0)
    one, other = (ledger.of(endpoint) for endpoint in make_endpoints(2))
    ledger.add_work(other, 100, 0.0)
    for second in range(2000):
        ledger.add_work(one, 100, float(second))
        assert one.work * ledger.scale(second) == pytest.approx(100 / (1 - 1 / math.e), rel=0.4)
    assert other.work * ledger.scale(2000.0) < 1e-9


def test_an_endpoint_has_one_account() -> None:
    """The same each time."""
    ledger = Ledger(60.0)
    one, other = make_endpoints(2)
    ledger.of(one).pending = 5
    assert [ledger.of(one).pending, ledger.of(other).pending] == [5, 0]


def test_accounts_of_endpoints_that_have_left_are_closed() -> None:
    """So endpoints that come and go do not pile up."""
    ledger = Ledger(60.0)
    for _ in range(100):
        for endpoint in make_endpoints(3):
            ledger.of(endpoint)
            endpoint.removed = True
    assert len(ledger) <= 3


def test_a_prefix_is_shared_while_somebody_has_it() -> None:
    """And is forgotten with the last one."""
    ledger = Ledger(60.0)
    ledger.begin([b"a", b"b"])
    ledger.begin([b"a", b"c"])
    ledger.end([b"a", b"b"])
    assert [ledger.shared(key) for key in (b"a", b"b", b"c")] == [True, False, True]
    ledger.end([b"a", b"c"])
    assert ledger.prefixes == 0
