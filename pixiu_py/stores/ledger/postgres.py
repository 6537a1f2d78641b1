"""The ledger in PostgreSQL. Costs are NUMERIC, and summed exactly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from msgspec import field

from pixiu_py.registry import Family, plugin
from pixiu_py.stores.base import StoreError
from pixiu_py.stores.ledger.base import Column, Ledger, RefreshKey, UsageQuery, UsageSum, WriterConfig, WriterKey
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
from pixiu_py.stores.postgres_driver import Connection
from pixiu_py.stores.postgres_pool import PostgresConfig, PostgresPool
from pixiu_py.stores.schema import Schema

_SCHEMA = Schema(
    "ledger",
    (
        (
            """CREATE TABLE pixiu_usage_records (
                id TEXT PRIMARY KEY,
                request_id TEXT NOT NULL,
                time DOUBLE PRECISION NOT NULL,
                principal TEXT NOT NULL,
                model TEXT NOT NULL,
                endpoint TEXT NOT NULL,
                status INTEGER NOT NULL,
                prompt BIGINT NOT NULL,
                completion BIGINT NOT NULL,
                read BIGINT NOT NULL,
                write_5m BIGINT NOT NULL,
                write_1h BIGINT NOT NULL,
                write_24h BIGINT NOT NULL,
                list_cost NUMERIC,
                charged_cost NUMERIC,
                estimated BOOLEAN NOT NULL
            )""",
            "CREATE INDEX pixiu_usage_records_time ON pixiu_usage_records (time)",
            """CREATE TABLE pixiu_tariffs (
                model TEXT NOT NULL,
                min_prefix_tokens INTEGER NOT NULL,
                write_multiplier_5m NUMERIC NOT NULL,
                write_multiplier_1h NUMERIC NOT NULL,
                write_multiplier_24h NUMERIC NOT NULL,
                read_multiplier NUMERIC NOT NULL,
                input_price NUMERIC,
                output_price NUMERIC,
                valid_from DOUBLE PRECISION NOT NULL,
                valid_until DOUBLE PRECISION,
                PRIMARY KEY (model, valid_from)
            )""",
            "CREATE UNIQUE INDEX pixiu_tariffs_in_force ON pixiu_tariffs (model) WHERE valid_until IS NULL",
            """CREATE TABLE pixiu_keys (
                digest BYTEA PRIMARY KEY,
                principal TEXT NOT NULL,
                added_at DOUBLE PRECISION NOT NULL
            )""",
        ),
    ),
)
#: Types of the columns of a record.
_TYPES = (
    *("text", "text", "float8", "text", "text", "text", "int"),
    *("bigint",) * len(TOKEN_COLUMNS),
    *("numeric", "numeric", "bool"),
)
_ARRAYS = ", ".join(f"${number}::{type_}[]" for number, type_ in enumerate(_TYPES, 1))
_APPEND = f"INSERT INTO pixiu_usage_records SELECT * FROM unnest({_ARRAYS}) ON CONFLICT (id) DO NOTHING"  # noqa: S608 - our own names
_PRUNE = """DELETE FROM pixiu_usage_records WHERE id IN
    (SELECT id FROM pixiu_usage_records WHERE time < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)"""
_COLUMNS: dict[Column, str] = {
    "principal": "principal",
    "model": "model",
    "endpoint": "endpoint",
    "status": "status",
    "day": "to_char(to_timestamp(time) AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
}
_SUMS = ", ".join(
    (
        *("count(*)", "count(*) - count(list_cost)"),
        *(f"sum({name})" for name in (*TOKEN_COLUMNS, "list_cost", "charged_cost")),
    )
)
_TARIFFS = f'SELECT {", ".join(TARIFF_COLUMNS)} FROM pixiu_tariffs ORDER BY model COLLATE "C", valid_from'  # noqa: S608 - our own names
_SET = f"INSERT INTO pixiu_tariffs VALUES ({', '.join(f'${number + 1}' for number in range(len(TARIFF_COLUMNS)))})"  # noqa: S608 - our own names
_END = """UPDATE pixiu_tariffs SET valid_until = greatest(valid_from, $1)
    WHERE model = $2 AND valid_until IS NULL"""
_LAST = "SELECT max(valid_from) FROM pixiu_tariffs WHERE model = $1"
_KEYS = 'SELECT digest, principal, added_at FROM pixiu_keys ORDER BY principal COLLATE "C", digest'
_ADD_KEY = "INSERT INTO pixiu_keys VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
_OWNER = "SELECT principal FROM pixiu_keys WHERE digest = $1"
_REMOVE_KEY = "DELETE FROM pixiu_keys WHERE digest = $1"
#: Whoever sets a tariff keeps others from doing so until it is set.
_LOCK = "LOCK TABLE pixiu_tariffs IN SHARE ROW EXCLUSIVE MODE"


class PostgresLedgerConfig(PostgresConfig, frozen=True):
    """Keys of the PostgreSQL ledger."""

    writer: WriterKey = field(default_factory=WriterConfig)
    refresh: RefreshKey = 60.0


@plugin(Family.LEDGER, "postgres")
class PostgresLedger(Ledger):
    """Keeps usage and tariffs in a database that several machines share."""

    Config: ClassVar[type[PostgresLedgerConfig]] = PostgresLedgerConfig

    def __init__(self, config: PostgresLedgerConfig) -> None:
        super().__init__(config)
        self._pool = PostgresPool(config, _SCHEMA)

    async def start(self) -> None:
        """See ``Ledger.start``."""
        await self._pool.start()

    async def close(self) -> None:
        """See ``Ledger.close``."""
        await self._pool.close()

    async def append(self, records: Sequence[UsageRecord]) -> int:
        """See ``Ledger.append``."""
        columns = [list(column) for column in zip(*map(record_row, records), strict=True)] or [
            [] for _ in RECORD_COLUMNS
        ]
        status = await self._pool.run(lambda connection: connection.execute(_APPEND, *columns))
        return int(status.rpartition(" ")[2])

    async def usage(self, query: UsageQuery) -> list[UsageSum]:
        """See ``Ledger.usage``."""
        text, values = sum_query("pixiu_usage_records", _COLUMNS, _SUMS, "$", query)
        rows = await self._pool.run(lambda connection: connection.fetch(text, *values), timeout=SUM_TIMEOUT)
        return sums_of(rows, query)

    async def prune(self, before: float, limit: int) -> int:
        """See ``Ledger.prune``."""
        status = await self._pool.run(lambda connection: connection.execute(_PRUNE, before, limit))
        return int(status.removeprefix("DELETE "))

    async def tariffs(self) -> list[TariffRow]:
        """See ``Ledger.tariffs``."""
        return [tariff_of(tuple(row)) for row in await self._pool.run(lambda connection: connection.fetch(_TARIFFS))]

    async def set_tariff(self, tariff: Tariff, now: float) -> TariffRow:
        """See ``Ledger.set_tariff``."""
        row = TariffRow(tariff, now)
        await self._pool.run(lambda connection: _set(connection, row), again=False)
        return row

    async def disable_tariff(self, model: str, now: float) -> bool:
        """See ``Ledger.disable_tariff``."""
        status = await self._pool.run(lambda connection: connection.execute(_END, now, model), again=False)
        return status != "UPDATE 0"

    async def keys(self) -> list[KeyRow]:
        """See ``Ledger.keys``."""
        return [KeyRow(*row) for row in await self._pool.run(lambda connection: connection.fetch(_KEYS))]

    async def add_key(self, digest: bytes, principal: str, now: float) -> bool:
        """See ``Ledger.add_key``."""
        return await self._pool.run(lambda connection: _add_key(connection, KeyRow(digest, principal, now)))

    async def remove_key(self, digest: bytes) -> bool:
        """See ``Ledger.remove_key``."""
        return await self._pool.run(lambda connection: connection.execute(_REMOVE_KEY, digest)) != "DELETE 0"


async def _add_key(connection: Connection, row: KeyRow) -> bool:
    if await connection.execute(_ADD_KEY, *row) != "INSERT 0 0":
        return True
    if await connection.fetchval(_OWNER, row.digest) != row.principal:
        raise StoreError("the key is another's")
    return False


async def _set(connection: Connection, row: TariffRow) -> None:
    async with connection.transaction():
        await connection.execute(_LOCK)
        model = row.tariff.model
        last = await connection.fetchval(_LAST, model)
        if last is not None and last >= row.valid_from:
            raise StoreError(f"the last tariff of {model} does not begin before this one")
        await connection.execute(_END, row.valid_from, model)
        await connection.execute(_SET, *tariff_row(row))
