"""What only the PostgreSQL ledger does: it goes away and comes back, and nothing is lost or counted twice."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import pytest

from pixiu_py.config.types import Secret
from pixiu_py.observability.metrics import Metrics
from pixiu_py.stores.base import StoreError
from pixiu_py.stores.ledger.base import UsageQuery, WriterConfig
from pixiu_py.stores.ledger.postgres import PostgresLedger, PostgresLedgerConfig
from pixiu_py.stores.ledger.record import usage_record
from pixiu_py.stores.ledger.writer import UsageWriter
from tests.fakes.ledgers import SERVED, TOKENS
from tests.fakes.services import postgres_server


def made(url: str, **config: Any) -> PostgresLedger:
    return PostgresLedger(PostgresLedgerConfig(dsn=Secret(url), **config))


async def test_usage_waits_for_a_server_that_is_away() -> None:
    """Killed and started again while records come in: each is there once, without a restart of ours."""
    with postgres_server() as service:
        ledger = made(service.url, retries=0, rest=0.0, writer=WriterConfig(batch_size=7, flush_interval=0.01))
        await ledger.start()
        writer = UsageWriter(ledger, Metrics())
        writer.start()
        for number in range(300):
            assert writer.add(usage_record(SERVED, TOKENS, None))
            await asyncio.sleep(0.001)
            if number == 100:
                await asyncio.to_thread(service.stop, signal.SIGQUIT)
            if number == 200:
                await asyncio.to_thread(service.start)
        await writer.close()
        (total,) = await ledger.usage(UsageQuery())
        assert (total.requests, writer.dropped) == (300, 0)
        await ledger.close()


async def test_a_server_that_is_away_is_an_error_of_the_store() -> None:
    with postgres_server() as service:
        ledger = made(service.url, retries=0)
        await ledger.start()
        await asyncio.to_thread(service.stop, signal.SIGQUIT)
        with pytest.raises(StoreError):
            await ledger.append([usage_record(SERVED, TOKENS, None)])
        with pytest.raises(StoreError):
            await ledger.tariffs()
        await ledger.close()
