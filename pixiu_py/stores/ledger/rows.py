"""Records, tariffs and sums as rows of a table, the same for every database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from pixiu_py.stores.ledger.base import Column, UsageQuery, UsageSum
from pixiu_py.stores.ledger.cost import Tokens
from pixiu_py.stores.ledger.record import UsageRecord
from pixiu_py.stores.ledger.tariff import Tariff, TariffRow

#: Seconds for a sum over everything.
SUM_TIMEOUT = 600.0
#: Columns of a record, in the order of ``record_row``.
RECORD_COLUMNS = (
    *("id", "request_id", "time", "principal", "model", "endpoint", "status"),
    *("prompt", "completion", "read", "write_5m", "write_1h", "write_24h"),
    *("list_cost", "charged_cost", "estimated"),
)
TOKEN_COLUMNS = Tokens._fields
#: Columns of a tariff, in the order of ``tariff_row``.
TARIFF_COLUMNS = (
    *("model", "min_prefix_tokens", "write_multiplier_5m", "write_multiplier_1h", "write_multiplier_24h"),
    *("read_multiplier", "input_price", "output_price", "valid_from", "valid_until"),
)


def record_row(record: UsageRecord) -> tuple[Any, ...]:
    """A record as values; costs are decimals or None."""
    served, cost = record.served, record.cost
    return (record.id, *served, *record.tokens, *(cost or (None, None)), record.estimated)


def tariff_row(row: TariffRow) -> tuple[Any, ...]:
    """A tariff as values."""
    return (*(getattr(row.tariff, name) for name in TARIFF_COLUMNS[:-2]), row.valid_from, row.valid_until)


def tariff_of(values: Sequence[Any]) -> TariffRow:
    """The other way; decimals may be texts. Numbers are written the short way, however the database fills them up."""
    given = dict(zip(TARIFF_COLUMNS, values, strict=True))
    ends = (given.pop("valid_from"), given.pop("valid_until"))
    decimals = {name: None if given[name] is None else _short(Decimal(given[name])) for name in TARIFF_COLUMNS[2:-2]}
    return TariffRow(Tariff(**{**given, **decimals}), *ends)


def sum_query(
    table: str, columns: Mapping[Column, str], sums: str, mark: str, query: UsageQuery
) -> tuple[str, list[float]]:
    """The SELECT for the sums that are asked for, and its values. ``mark`` stands before the number of a value."""
    keys = [columns[column] for column in query.by]
    text = f"SELECT {', '.join([*keys, sums])} FROM {table} WHERE time >= {mark}1"  # noqa: S608 - our own names
    values = [query.since]
    if query.until is not None:
        text += f" AND time < {mark}2"
        values.append(query.until)
    return text + (f" GROUP BY {', '.join(keys)}" if keys else " HAVING count(*) > 0"), values


def sums_of(rows: Iterable[Sequence[Any]], query: UsageQuery) -> list[UsageSum]:
    """The sums in the rows that ``sum_query`` found, ordered by key."""
    return sorted(_sum_of(tuple(row), len(query.by)) for row in rows)


def _sum_of(values: Sequence[Any], keys: int) -> UsageSum:
    """A sum from a row: ``keys`` values of the key, requests, unpriced ones, tokens, costs."""
    requests, unpriced, *rest = values[keys:]
    tokens, (listed, charged) = rest[: len(TOKEN_COLUMNS)], rest[len(TOKEN_COLUMNS) :]
    return UsageSum(
        tuple(str(value) for value in values[:keys]),
        int(requests),
        int(unpriced),
        Tokens(*(int(count) for count in tokens)),
        _short(Decimal(listed or 0)),
        _short(Decimal(charged or 0)),
    )


def _short(value: Decimal) -> Decimal:
    """Without trailing zeros, and without an exponent for whole numbers."""
    return value.quantize(Decimal(1)) if value == value.to_integral_value() else value.normalize()
