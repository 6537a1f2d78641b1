"""The ledger in a SQLite file. Costs are kept as decimal text and summed exactly."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal

from msgspec import field

from pixiu_py.config.types import doc
from pixiu_py.registry import Family, plugin
from pixiu_py.stores.base import StoreError
from pixiu_py.stores.ledger.base import Column, Ledger, RefreshKey, UsageQuery, UsageSum, WriterConfig, WriterKey
from pixiu_py.stores.ledger.cost import EXACT
from pixiu_py.stores.ledger.keys import KeyRow
from pixiu_py.stores.ledger.record import UsageRecord
from pixiu_py.stores.ledger.rows import (
    RECORD_COLUMNS,
    SUM_TIMEOUT,
    TARIFF_COLUMNS,
    TOKEN_COLUMNS,
    record_row,
    sum_query,
    sums_of,
    tariff_of,
    tariff_row,
)
from pixiu_py.stores.ledger.tariff import Tariff, TariffRow
from pixiu_py.stores.schema import Schema
from pixiu_py.stores.sqlite_file import SqliteConfig, SqliteFile, Transaction

_SCHEMA = Schema(
    "ledger",
    (
        (
            """CREATE TABLE usage_records (
                id TEXT PRIMARY KEY,
                request_id TEXT NOT NULL,
                time REAL NOT NULL,
                principal TEXT NOT NULL,
                model TEXT NOT NULL,
                endpoint TEXT NOT NULL,
                status INTEGER NOT NULL,
                prompt INTEGER NOT NULL,
                completion INTEGER NOT NULL,
                read INTEGER NOT NULL,
                write_5m INTEGER NOT NULL,
                write_1h INTEGER NOT NULL,
                write_24h INTEGER NOT NULL,
                list_cost TEXT,
                charged_cost TEXT,
                estimated INTEGER NOT NULL
            )""",
            "CREATE INDEX usage_records_time ON usage_records (time)",
            """CREATE TABLE tariffs (
                model TEXT NOT NULL,
                min_prefix_tokens INTEGER NOT NULL,
                write_multiplier_5m TEXT NOT NULL,
                write_multiplier_1h TEXT NOT NULL,
                write_multiplier_24h TEXT NOT NULL,
                read_multiplier TEXT NOT NULL,
                input_price TEXT,
                output_price TEXT,
                valid_from REAL NOT NULL,
                valid_until REAL,
                PRIMARY KEY (model, valid_from)
            )""",
            "CREATE UNIQUE INDEX tariffs_in_force ON tariffs (model) WHERE valid_until IS NULL",
            "CREATE TABLE keys (digest BLOB PRIMARY KEY, principal TEXT NOT NULL, added_at REAL NOT NULL)",
        ),
    ),
)
_APPEND = f"INSERT INTO usage_records VALUES ({','.join('?' * len(RECORD_COLUMNS))}) ON CONFLICT (id) DO NOTHING"  # noqa: S608 - our own names
_PRUNE = "DELETE FROM usage_records WHERE id IN (SELECT id FROM usage_records WHERE time < ? LIMIT ?)"
_COLUMNS: dict[Column, str] = {
    "principal": "principal",
    "model": "model",
    "endpoint": "endpoint",
    "status": "status",
    "day": "strftime('%Y-%m-%d', time, 'unixepoch')",
}
_SUMS = ", ".join(
    (
        *("count(*)", "sum(list_cost IS NULL)"),
        *(f"sum({name})" for name in TOKEN_COLUMNS),
        *("exact_sum(list_cost)", "exact_sum(charged_cost)"),
    )
)
_TARIFFS = f"SELECT {', '.join(TARIFF_COLUMNS)} FROM tariffs ORDER BY model, valid_from"  # noqa: S608 - our own names
_SET = f"INSERT INTO tariffs VALUES ({','.join('?' * len(TARIFF_COLUMNS))})"  # noqa: S608 - our own names
_END = "UPDATE tariffs SET valid_until = max(valid_from, ?) WHERE model = ? AND valid_until IS NULL"
_KEYS = "SELECT digest, principal, added_at FROM keys ORDER BY principal, digest"
_ADD_KEY = "INSERT INTO keys VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
_OWNER = "SELECT principal FROM keys WHERE digest = ?"
_REMOVE_KEY = "DELETE FROM keys WHERE digest = ?"


class SqliteLedgerConfig(SqliteConfig, frozen=True):
    """Keys of the SQLite ledger."""

    synchronous: Annotated[
        Literal["normal", "full"],
        doc("full: each write survives a power failure; normal: a crash of the process only."),
    ] = "full"
    writer: WriterKey = field(default_factory=WriterConfig)
    refresh: RefreshKey = 60.0


@plugin(Family.LEDGER, "sqlite")
class SqliteLedger(Ledger):
    """Keeps usage and tariffs in a file that the workers of one machine share."""

    Config: ClassVar[type[SqliteLedgerConfig]] = SqliteLedgerConfig

    def __init__(self, config: SqliteLedgerConfig) -> None:
        super().__init__(config)
        self._file = SqliteFile(config, _SCHEMA)

    async def start(self) -> None:
        """See ``Ledger.start``."""
        await self._file.start()

    async def close(self) -> None:
        """See ``Ledger.close``."""
        await self._file.close()

    async def append(self, records: Sequence[UsageRecord]) -> int:
        """See ``Ledger.append``."""
        rows = [_written(record_row(record)) for record in records]
        return await self._file.run(lambda connection: _append(connection, rows))

    async def usage(self, query: UsageQuery) -> list[UsageSum]:
        """See ``Ledger.usage``."""
        text, values = sum_query("usage_records", _COLUMNS, _SUMS, "?", query)
        return sums_of(await self._file.run(lambda connection: _sums(connection, text, values), SUM_TIMEOUT), query)

    async def prune(self, before: float, limit: int) -> int:
        """See ``Ledger.prune``."""
        return await self._file.run(lambda connection: connection.execute(_PRUNE, (before, limit)).rowcount)

    async def tariffs(self) -> list[TariffRow]:
        """See ``Ledger.tariffs``."""
        return [
            tariff_of(row) for row in await self._file.run(lambda connection: connection.execute(_TARIFFS).fetchall())
        ]

    async def set_tariff(self, tariff: Tariff, now: float) -> TariffRow:
        """See ``Ledger.set_tariff``."""
        row = TariffRow(tariff, now)
        await self._file.run(lambda connection: _set(connection, row))
        return row

    async def disable_tariff(self, model: str, now: float) -> bool:
        """See ``Ledger.disable_tariff``."""
        return await self._file.run(lambda connection: connection.execute(_END, (now, model)).rowcount) > 0

    async def keys(self) -> list[KeyRow]:
        """See ``Ledger.keys``."""
        return [KeyRow(*row) for row in await self._file.run(lambda connection: connection.execute(_KEYS).fetchall())]

    async def add_key(self, digest: bytes, principal: str, now: float) -> bool:
        """See ``Ledger.add_key``."""
        return await self._file.run(lambda connection: _add_key(connection, KeyRow(digest, principal, now)))

    async def remove_key(self, digest: bytes) -> bool:
        """See ``Ledger.remove_key``."""
        return await self._file.run(lambda connection: connection.execute(_REMOVE_KEY, (digest,)).rowcount) > 0


def _append(connection: sqlite3.Connection, rows: list[tuple[Any, ...]]) -> int:
    with Transaction(connection):
        return connection.executemany(_APPEND, rows).rowcount


def _set(connection: sqlite3.Connection, row: TariffRow) -> None:
    with Transaction(connection):
        model = row.tariff.model
        last = connection.execute("SELECT max(valid_from) FROM tariffs WHERE model = ?", (model,)).fetchone()[0]
        if last is not None and last >= row.valid_from:
            raise StoreError(f"the last tariff of {model} does not begin before this one")
        connection.execute(_END, (row.valid_from, model))
        connection.execute(_SET, _written(tariff_row(row)))


def _add_key(connection: sqlite3.Connection, row: KeyRow) -> bool:
    with Transaction(connection):
        if connection.execute(_ADD_KEY, row).rowcount:
            return True
        if connection.execute(_OWNER, (row.digest,)).fetchone() != (row.principal,):
            raise StoreError("the key is another's")
        return False


def _sums(connection: sqlite3.Connection, text: str, values: list[float]) -> list[tuple[Any, ...]]:
    # typeshed wants a step with as many parameters as there are; SQLite's own sum would be a float.
    connection.create_aggregate("exact_sum", 1, _ExactSum)  # type: ignore[arg-type]
    return connection.execute(text, values).fetchall()


class _ExactSum:
    """``sum`` for decimals written as text."""

    def __init__(self) -> None:
        self._sum = Decimal(0)

    def step(self, value: str | None) -> None:
        """Add one; NULL adds nothing."""
        if value is not None:
            self._sum = EXACT.add(self._sum, Decimal(value))

    def finalize(self) -> str:
        """The sum, as text."""
        return f"{self._sum:f}"


def _written(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Decimals as text."""
    return tuple(f"{value:f}" if isinstance(value, Decimal) else value for value in values)
