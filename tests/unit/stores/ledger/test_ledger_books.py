"""Which tariff holds, and where usage goes, with and without a ledger."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from pixiu_py.observability.metrics import Metrics
from pixiu_py.stores.ledger import books as module
from pixiu_py.stores.ledger.books import Books
from pixiu_py.stores.ledger.keys import KeyRow
from pixiu_py.stores.ledger.tariff import Tariff, TariffRow
from tests.fakes.ledgers import SERVED, TOKENS, ListLedger, ListLedgerConfig

NOW = 1_000.0
CONFIGURED = Tariff(model="model", input_price=Decimal(1))
OTHER = Tariff(model="model", min_prefix_tokens=5, input_price=Decimal(2))


async def test_without_a_ledger_the_configuration_holds_and_usage_goes_nowhere() -> None:
    books = Books([CONFIGURED], None, Metrics())
    await books.start()
    assert books.tariff("model", NOW) is CONFIGURED
    assert books.tariff("nothing", NOW) is None
    assert not books.keeps_usage
    books.record(SERVED, TOKENS)
    await books.close()


async def test_a_model_that_the_ledger_knows_is_the_ledgers() -> None:
    """Also when its tariff has ended: then the model is disabled, whatever the configuration says."""
    ledger = ListLedger()
    ledger.rows = [TariffRow(OTHER, 500.0, 2_000.0)]
    books = Books([CONFIGURED, Tariff(model="second")], ledger, Metrics())
    await books.start()
    assert books.tariff("model", NOW) is OTHER
    assert books.tariff("model", 2_000.0) is None
    assert books.tariff("model", 499.0) is None
    assert books.tariff("second", NOW) == Tariff(model="second")
    await books.close()


async def test_usage_is_priced_by_the_tariff_of_its_end() -> None:
    ledger = ListLedger()
    ledger.rows = [TariffRow(CONFIGURED, 0.0, 1_000.0), TariffRow(OTHER, 1_000.0)]
    books = Books([], ledger, Metrics())
    await books.start()
    assert books.keeps_usage
    books.record(SERVED._replace(time=999.9), TOKENS)
    books.record(SERVED, TOKENS, estimated=True)
    books.record(SERVED._replace(model="nothing"), TOKENS)
    await books.close()
    assert [record.cost.listed if record.cost else None for record in ledger.records] == [
        Decimal("0.0001"),
        Decimal("0.0002"),
        None,
    ]
    assert [record.estimated for record in ledger.records] == [False, True, False]
    assert (ledger.opened, ledger.closed) == (1, 1)


async def test_a_change_in_the_ledger_is_seen_after_the_refresh() -> None:
    ledger = ListLedger(ListLedgerConfig(refresh=0.001))
    books = Books([], ledger, Metrics())
    await books.start()
    assert books.tariff("model", NOW) is None
    ledger.rows = [TariffRow(OTHER)]
    async with asyncio.timeout(10):
        while books.tariff("model", NOW) is not OTHER:
            await asyncio.sleep(0.001)
    await books.close()


async def test_the_owner_of_a_key_is_found_by_its_digest() -> None:
    ledger = ListLedger()
    ledger.owners = [KeyRow(b"d", "alice", NOW)]
    books = Books([], ledger, Metrics())
    assert books.owner(b"d") == ""
    await books.start()
    assert (books.owner(b"d"), books.owner(b"other")) == ("alice", "")
    await books.close()


async def test_while_the_ledger_is_away_the_last_tariffs_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """And are counted as unread; a gateway starts without them, and has them soon after."""
    monkeypatch.setattr(module, "_AGAIN", 0.001)
    metrics = Metrics()
    ledger = ListLedger()
    ledger.fails = True
    books = Books([CONFIGURED], ledger, metrics)
    await books.start()
    assert books.tariff("model", NOW) is CONFIGURED
    assert b"pixiu_py_ledger_read_failures_total 1" in metrics.render()
    ledger.fails, ledger.rows = False, [TariffRow(OTHER)]
    async with asyncio.timeout(10):
        while books.tariff("model", NOW) is not OTHER:
            await asyncio.sleep(0.001)
    await books.close()
