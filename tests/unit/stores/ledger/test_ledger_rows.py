"""Rows are what they were made of."""

from __future__ import annotations

from decimal import Decimal

from pixiu_py.stores.ledger.base import Column, UsageQuery
from pixiu_py.stores.ledger.cost import Tokens
from pixiu_py.stores.ledger.record import usage_record
from pixiu_py.stores.ledger.rows import (
    RECORD_COLUMNS,
    TARIFF_COLUMNS,
    record_row,
    sum_query,
    sums_of,
    tariff_of,
    tariff_row,
)
from pixiu_py.stores.ledger.tariff import Tariff, TariffRow
from tests.fakes.ledgers import SERVED, TOKENS

TARIFF = Tariff(model="model", input_price=Decimal(10), output_price=Decimal("0.50"))


def test_a_record_has_a_value_for_each_column() -> None:
    record = usage_record(SERVED, TOKENS, TARIFF, record_id="id")
    named = dict(zip(RECORD_COLUMNS, record_row(record), strict=True))
    assert (named["id"], named["request_id"], named["status"], named["estimated"]) == ("id", "request", 200, False)
    assert (named["prompt"], named["completion"], named["read"], named["write_24h"]) == (100, 10, 40, 0)
    assert record.cost is not None
    assert (named["list_cost"], named["charged_cost"]) == record.cost
    unpriced = dict(zip(RECORD_COLUMNS, record_row(usage_record(SERVED, TOKENS, None)), strict=True))
    assert unpriced["list_cost"] is unpriced["charged_cost"] is None


def test_a_tariff_comes_back_from_texts_and_from_padded_decimals() -> None:
    row = TariffRow(TARIFF, 1.0, 2.0)
    values = tariff_row(row)
    assert tariff_of(values) == row
    padded = [f"{value:.6f}" if isinstance(value, Decimal) else value for value in values]
    back = tariff_of(padded)
    assert back == row
    found = dict(zip(TARIFF_COLUMNS, tariff_row(back), strict=True))
    assert [str(found[name]) for name in ("input_price", "output_price", "read_multiplier")] == ["10", "0.5", "0.1"]


def test_a_sum_is_read_with_its_key() -> None:
    rows = [["bob", 200, *range(8), 0, 0], ["alice", 200, 3, 1.0, *range(6), "1.50", None]]
    found, other = sums_of(rows, UsageQuery(by=("principal", "status")))
    assert other.key == ("bob", "200")
    assert found.key == ("alice", "200")
    assert (found.requests, found.unpriced, found.tokens) == (3, 1, Tokens(*range(6)))
    assert (str(found.list_cost), found.charged_cost) == ("1.5", 0)


def test_a_query_names_its_columns_and_counts_its_values() -> None:
    """An end may be open; without a key there is one sum, or none where nothing is."""
    columns: dict[Column, str] = {"model": "model", "day": "day(time)"}
    text, values = sum_query("t", columns, "count(*)", "$", UsageQuery(1.0, 2.0, ("day", "model")))
    assert text == ("SELECT day(time), model, count(*) FROM t WHERE time >= $1 AND time < $2 GROUP BY day(time), model")
    assert values == [1.0, 2.0]
    assert sum_query("t", columns, "count(*)", "?", UsageQuery(1.0)) == (
        "SELECT count(*) FROM t WHERE time >= ?1 HAVING count(*) > 0",
        [1.0],
    )
