"""Usage gets into the ledger once: batches, failures, a full queue, the end."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from pixiu_py.observability.metrics import Metrics
from pixiu_py.stores.ledger import writer as module
from pixiu_py.stores.ledger.base import WriterConfig
from pixiu_py.stores.ledger.record import UsageRecord, usage_record
from pixiu_py.stores.ledger.spill import spilled
from pixiu_py.stores.ledger.writer import UsageWriter
from tests.fakes.ledgers import SERVED, TOKENS, ListLedger, ListLedgerConfig

#: Long enough never to pass in a test.
NEVER = 1000.0


def record() -> UsageRecord:
    return usage_record(SERVED, TOKENS, None)


def made(metrics: Metrics | None = None, **config: Any) -> tuple[UsageWriter, ListLedger]:
    ledger = ListLedger(ListLedgerConfig(writer=WriterConfig(**config)))
    writer = UsageWriter(ledger, metrics or Metrics())
    writer.start()
    return writer, ledger


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Tries follow each other at once; what is spilled goes into the test's own folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(module, "_LONGEST_PAUSE", 0.001)


async def until(ledger: ListLedger, count: int) -> None:
    async with asyncio.timeout(10):
        while len(ledger.records) < count:
            await asyncio.sleep(0.001)


async def test_a_full_batch_is_written_at_once() -> None:
    writer, ledger = made(batch_size=3, flush_interval=NEVER)
    for _ in range(7):
        assert writer.add(record())
    await until(ledger, 6)
    assert ledger.batches == [3, 3]
    await writer.close()
    assert ledger.batches == [3, 3, 1]


async def test_a_lonely_record_waits_no_longer_than_the_interval() -> None:
    writer, ledger = made(batch_size=100, flush_interval=0.01)
    writer.add(record())
    await until(ledger, 1)
    await writer.close()


async def test_the_end_writes_all_that_waits() -> None:
    """Without waiting for an interval or a full batch, and though it takes several batches."""
    writer, ledger = made(batch_size=10, flush_interval=NEVER, close_timeout=NEVER)
    ledger.open.clear()
    sent = [record() for _ in range(95)]
    for one in sent:
        writer.add(one)
    await ledger.called.wait()
    ledger.open.set()
    await writer.close()
    assert ledger.records == sent


async def test_a_batch_whose_answer_got_lost_is_not_counted_twice() -> None:
    writer, ledger = made(batch_size=2, flush_interval=NEVER)
    ledger.loses_answers = True
    writer.add(record())
    writer.add(record())
    async with asyncio.timeout(10):
        while len(ledger.batches) < 3:
            await asyncio.sleep(0.001)
    ledger.loses_answers = False
    await writer.close()
    assert len(ledger.records) == 2


async def test_while_the_ledger_is_away_records_wait_and_nothing_is_lost() -> None:
    metrics = Metrics()
    writer, ledger = made(metrics, batch_size=1, flush_interval=0.001)
    ledger.fails = True
    for _ in range(20):
        writer.add(record())
        await asyncio.sleep(0.001)
    assert b"pixiu_py_usage_records_waiting 20" in metrics.render()
    ledger.fails = False
    await until(ledger, 20)
    await writer.close()
    assert writer.dropped == 0
    assert b'pixiu_py_usage_records_total{outcome="written"} 20' in metrics.render()
    assert b"pixiu_py_usage_write_failures_total" in metrics.render()


async def test_a_full_queue_drops_what_comes_and_counts_it() -> None:
    """The oldest stay: they were taken first."""
    metrics = Metrics()
    writer, ledger = made(metrics, queue_size=3, flush_interval=NEVER)
    sent = [record() for _ in range(5)]
    assert [writer.add(one) for one in sent] == [True, True, True, False, False]
    assert writer.dropped == 2
    assert b'pixiu_py_usage_records_total{outcome="dropped"} 2' in metrics.render()
    await writer.close()
    assert ledger.records == sent[:3]


async def test_the_end_waits_no_longer_than_it_may() -> None:
    """A ledger that does not answer delays the end by ``close_timeout``; what it did not take is counted."""
    writer, ledger = made(batch_size=1, close_timeout=0.01, spill="")
    ledger.open.clear()
    writer.add(record())
    await writer.close()
    assert writer.dropped == 1


async def test_what_cannot_be_written_before_the_end_is_written_after_the_next_start(tmp_path: Path) -> None:
    """Though the ledger is still away then, and two workers find the file; nothing is there twice."""
    path = str(tmp_path / "usage")
    metrics = Metrics()
    writer, ledger = made(metrics, batch_size=2, close_timeout=0.01, spill=path)
    ledger.fails = True
    sent = [record() for _ in range(5)]
    for one in sent:
        writer.add(one)
    await writer.close()
    assert (writer.dropped, len(spilled(path))) == (0, 1)
    assert b'pixiu_py_usage_records_total{outcome="spilled"} 5' in metrics.render()
    writers = [UsageWriter(ledger, Metrics()) for _ in range(2)]
    for one in writers:
        one.start()
    await asyncio.sleep(0.01)
    assert len(spilled(path)) == 1
    ledger.fails = False
    await until(ledger, 5)
    async with asyncio.timeout(10):
        while spilled(path):
            await asyncio.sleep(0.001)
    for one in writers:
        await one.close()
    assert ledger.records == sent


async def test_a_place_that_takes_nothing_loses_what_waits(tmp_path: Path) -> None:
    """It is told at the start, when something can be done about it, and again when it is too late."""
    with capture_logs() as logs:
        writer, ledger = made(batch_size=1, close_timeout=0.01, spill=str(tmp_path / "nowhere" / "usage"))
        ledger.fails = True
        writer.add(record())
        await writer.close()
    assert writer.dropped == 1
    told = [entry["event"] for entry in logs if "for the next start" in entry["event"]]
    assert [event.partition(":")[0] for event in told] == [
        "usage could not be kept for the next start",
        "usage cannot be kept for the next start",
    ]


async def test_a_place_that_takes_files_is_nothing_to_tell(tmp_path: Path) -> None:
    with capture_logs() as logs:
        writer, _ = made(spill=str(tmp_path / "usage"))
        await writer.close()
    assert logs == []


async def test_a_file_that_is_none_of_ours_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "usage.txt").write_bytes(b"notes\n")
    writer, ledger = made(batch_size=1, spill=str(tmp_path / "usage"))
    writer.add(record())
    await until(ledger, 1)
    await writer.close()
    assert (tmp_path / "usage.txt").exists()


async def test_a_ledger_that_comes_back_during_the_end_gets_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the writer was in the middle of a long pause."""
    monkeypatch.setattr(module, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(module, "_LONGEST_PAUSE", NEVER)
    writer, ledger = made(batch_size=1, close_timeout=NEVER)
    ledger.fails = True
    writer.add(record())
    await ledger.called.wait()
    closing = asyncio.gather(writer.close())
    ledger.fails = False
    async with asyncio.timeout(10):
        await closing
    assert len(ledger.records) == 1


async def test_at_the_end_a_ledger_that_is_away_is_told_once() -> None:
    """Tries follow each other quickly then, and say nothing new."""
    metrics = Metrics()
    writer, ledger = made(metrics, flush_interval=NEVER, close_timeout=NEVER)
    ledger.fails = True
    writer.add(record())
    with capture_logs() as logs:
        closing = asyncio.gather(writer.close())
        async with asyncio.timeout(10):
            while b"pixiu_py_usage_write_failures_total 3" not in metrics.render():
                await asyncio.sleep(0)
            ledger.fails = False
            await closing
    assert [entry["event"] for entry in logs] == ["usage cannot be written; it is tried again"]


async def test_what_never_started_can_be_closed() -> None:
    writer = UsageWriter(ListLedger(), Metrics())
    await writer.close()


@pytest.mark.parametrize(("keep", "asked"), [(100.0, [900.0]), (0.0, [])])
async def test_old_usage_is_removed_if_so_configured(keep: float, asked: list[float]) -> None:
    ledger = ListLedger(ListLedgerConfig(writer=WriterConfig(keep=keep)))
    writer = UsageWriter(ledger, Metrics(), lambda: 1000.0)
    writer.start()
    await asyncio.sleep(0)
    await writer.close()
    assert ledger.pruned == asked
