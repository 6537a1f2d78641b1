"""The ledger: tokens that are pending, work that fades, accounts that are closed."""

from __future__ import annotations

import math

import pytest

from pixiu_py.filters.ai.kvcache.ledger import Account, Ledger
from tests.fakes.clusters import make_endpoints


def test_work_fades() -> None:
    """To a third after the memory's time."""
    account = Account()
    account.add_work(100, 5.0, 60.0)
    assert account.work(5.0, 60.0) == 100
    assert account.work(65.0, 60.0) == pytest.approx(100 / math.e)
    account.add_work(10, 65.0, 60.0)
    assert account.work(65.0, 60.0) == pytest.approx(10 + 100 / math.e)


def test_an_endpoint_has_one_account() -> None:
    """The same each time."""
    ledger = Ledger()
    one, other = make_endpoints(2)
    ledger.of(one).pending = 5
    assert [account.pending for account in ledger.all_of([one, other])] == [5, 0]


def test_accounts_of_endpoints_that_have_left_are_closed() -> None:
    """So endpoints that come and go do not pile up."""
    ledger = Ledger()
    for _ in range(100):
        for endpoint in make_endpoints(3):
            ledger.of(endpoint)
            endpoint.removed = True
    assert len(ledger) <= 3
