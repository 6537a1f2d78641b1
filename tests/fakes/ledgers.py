"""A ledger in memory that can be told to fail or to wait, for what is built on top of ledgers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from pixiu_py.config.types import Duration, Model
from pixiu_py.stores.base import StoreError
from pixiu_py.stores.ledger.base import Ledger, WriterConfig
from pixiu_py.stores.ledger.cost import Tokens
from pixiu_py.stores.ledger.keys import KeyRow
from pixiu_py.stores.ledger.record import Served, UsageRecord
from pixiu_py.stores.ledger.tariff import TariffRow

SERVED = Served("request", 1_000.0, "alice", "model", "endpoint", 200)
TOKENS = Tokens(100, 10, read=40)


class ListLedgerConfig(Model, frozen=True):
    """Keys that every ledger has."""

    writer: WriterConfig = WriterConfig()
    refresh: Duration = 60.0


class ListLedger(Ledger):
    """Keeps what it gets in lists."""

    Config = ListLedgerConfig

    def __init__(self, config: ListLedgerConfig = ListLedgerConfig()) -> None:  # noqa: B008 - it is frozen
        super().__init__(config)
        self.records: list[UsageRecord] = []
        self.batches: list[int] = []
        self.rows: list[TariffRow] = []
        self.owners: list[KeyRow] = []
        self.pruned: list[float] = []
        self.fails = False
        #: Set: what is appended gets there, and nobody hears of it.
        self.loses_answers = False
        self.opened = self.closed = 0
        #: Cleared: nothing is appended until it is set.
        self.open = asyncio.Event()
        self.open.set()
        self.called = asyncio.Event()

    async def start(self) -> None:
        """Count it."""
        self.opened += 1

    async def close(self) -> None:
        """Count it."""
        self.closed += 1

    async def append(self, records: Sequence[UsageRecord]) -> int:
        """See ``Ledger.append``."""
        self.called.set()
        await self.open.wait()
        self._check()
        known = {record.id for record in self.records}
        new = [record for record in records if record.id not in known]
        self.records += new
        self.batches.append(len(records))
        if self.loses_answers:
            raise StoreError("the answer got lost")
        return len(new)

    async def tariffs(self) -> list[TariffRow]:
        """See ``Ledger.tariffs``."""
        self._check()
        return self.rows

    async def keys(self) -> list[KeyRow]:
        """See ``Ledger.keys``."""
        self._check()
        return self.owners

    async def prune(self, before: float, limit: int) -> int:
        """Remember that it was asked."""
        self.pruned.append(before)
        return 0

    def _check(self) -> None:
        if self.fails:
            raise StoreError("away")
