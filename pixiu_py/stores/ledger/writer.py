"""Usage on its way into the ledger: collected, written in batches, tried again until it is there.

Taking a record costs no system call and never waits. A batch that fails is kept and tried again, with growing pauses:
appending is idempotent, so that one whose answer got lost is not counted twice. While the ledger is away the queue grows
up to ``queue_size``; what comes then is dropped and counted. At the end everything that waits is written, for up to
``close_timeout``, and what is left then goes into a file for the next start. A process that is killed loses what it took
within the last ``flush_interval``, not more.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice

import structlog

from pixiu_py.observability.metrics import Metrics
from pixiu_py.stores.base import StoreError
from pixiu_py.stores.ledger.base import Ledger, WriterConfig
from pixiu_py.stores.ledger.record import UsageRecord
from pixiu_py.stores.ledger.spill import can_spill, read_spilled, spill, spilled
from pixiu_py.tasks import Tasks

log = structlog.get_logger("pixiu_py.stores.ledger")

#: Seconds between tries, the first and the longest; they double.
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 10.0
#: Seconds between two looks for records that are too old, and how many are removed in one step.
_PRUNE_INTERVAL = 600.0
_PRUNE_BATCH = 1000


class UsageWriter:
    """Writes the usage of one process."""

    def __init__(self, ledger: Ledger, metrics: Metrics, clock: Callable[[], float] = time.time) -> None:
        self._ledger = ledger
        self._config: WriterConfig = ledger.config.writer
        self._clock = clock
        self._waiting: deque[UsageRecord] = deque()
        self._more = asyncio.Event()
        self._closing = asyncio.Event()
        self._writing: asyncio.Task[None] | None = None
        self._told = 0
        self._tasks = Tasks("usage ledger")
        self.dropped = 0
        self._records = metrics.counter(
            "pixiu_py_usage_records_total", "Usage records by what became of them.", ("outcome",)
        )
        self._failures = metrics.counter("pixiu_py_usage_write_failures_total", "Batches that had to be tried again.")
        self._depth = metrics.reading("pixiu_py_usage_records_waiting", "Usage records not yet written.")
        self._depth.add(self._read_depth)

    def start(self) -> None:
        """Begin to write."""
        self._writing = self._tasks.spawn(self._write(), "write")
        if self._config.spill:
            if not can_spill(self._config.spill):
                log.warning(
                    "usage could not be kept for the next start: no files can be made there", spill=self._config.spill
                )
            _ = self._tasks.spawn(self._recover(), "recover")
        if self._config.keep:
            _ = self._tasks.spawn(self._prune(), "prune")

    def add(self, record: UsageRecord) -> bool:
        """Take one record; False when the queue is full: then it is lost, and counted."""
        if len(self._waiting) >= self._config.queue_size:
            self._lost(1)
            return False
        self._waiting.append(record)
        if len(self._waiting) == 1 or len(self._waiting) == self._config.batch_size:
            self._more.set()
        return True

    async def close(self) -> None:
        """Write what waits, for up to ``close_timeout``."""
        self._closing.set()
        self._more.set()
        if self._writing is not None:
            await asyncio.wait((self._writing,), timeout=self._config.close_timeout)
        await self._tasks.close()
        self._depth.drop(self._read_depth)
        if self._waiting and not self._spill():
            self._lost(len(self._waiting))
            self._tell()
        self._waiting.clear()

    def _spill(self) -> bool:
        """Keep what waits for the next start; False when that cannot be done."""
        if not self._config.spill:
            return False
        try:
            file = spill(self._config.spill, self._waiting)
        except OSError as error:
            log.error("usage cannot be kept for the next start", error=str(error))
            return False
        self._records.inc(("spilled",), len(self._waiting))
        log.warning("usage is kept for the next start", file=str(file), records=len(self._waiting))
        return True

    async def _recover(self) -> None:
        """Write what processes before this one could not."""
        for file in spilled(self._config.spill):
            try:
                records = read_spilled(file)
                while batch := await asyncio.to_thread(_next, records, self._config.batch_size):
                    await self._insist(batch)
                file.unlink(missing_ok=True)
            except (OSError, ValueError) as error:  # another worker was quicker, or it is no file of ours
                log.warning("kept usage cannot be read", file=str(file), error=str(error))

    async def _insist(self, batch: list[UsageRecord]) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                self._records.inc(("written",), await self._ledger.append(batch))
                return
            except StoreError:
                self._failures.inc()
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    async def _write(self) -> None:
        pause = _FIRST_PAUSE
        said_at_end = False
        while await self._some():
            batch = list(islice(self._waiting, self._config.batch_size))
            try:
                await self._ledger.append(batch)
            except StoreError as error:
                self._failures.inc()
                if not said_at_end:
                    waiting = len(self._waiting)
                    log.warning("usage cannot be written; it is tried again", error=str(error), waiting=waiting)
                said_at_end = self._closing.is_set()  # tries follow each other quickly then
                self._tell()
                pause = await self._rest(pause)
                continue
            pause = _FIRST_PAUSE
            for _ in batch:
                self._waiting.popleft()
            self._records.inc(("written",), len(batch))
            self._tell()

    async def _rest(self, pause: float) -> float:
        """Wait before the next try; at the end of everything tries follow each other quickly. The next pause."""
        if self._closing.is_set():
            await asyncio.sleep(_FIRST_PAUSE)
            return _FIRST_PAUSE
        try:
            async with asyncio.timeout(pause):
                await self._closing.wait()
        except TimeoutError:
            return min(pause * 2, _LONGEST_PAUSE)
        return _FIRST_PAUSE

    async def _some(self) -> bool:
        """Wait until a batch is full or its first record old enough; False when it is the end and nothing waits."""
        while not self._waiting and not self._closing.is_set():
            self._more.clear()
            await self._more.wait()
        if not self._closing.is_set() and len(self._waiting) < self._config.batch_size:
            self._more.clear()
            try:
                async with asyncio.timeout(self._config.flush_interval):
                    await self._more.wait()
            except TimeoutError:
                pass
        return bool(self._waiting)

    async def _prune(self) -> None:
        while True:
            try:
                while await self._ledger.prune(self._clock() - self._config.keep, _PRUNE_BATCH) == _PRUNE_BATCH:
                    pass
            except StoreError as error:
                log.warning("old usage cannot be removed", error=str(error))
            await asyncio.sleep(_PRUNE_INTERVAL)

    def _lost(self, count: int) -> None:
        self.dropped += count
        self._records.inc(("dropped",), count)
        if self._told == 0:
            self._tell()

    def _tell(self) -> None:
        """Say how many were lost since it was last said."""
        if self.dropped > self._told:
            log.error("usage records dropped: the ledger does not keep up", dropped=self.dropped - self._told)
            self._told = self.dropped

    def _read_depth(self) -> list[tuple[tuple[str, ...], float]]:
        return [((), len(self._waiting))]


def _next(records: Iterator[UsageRecord], most: int) -> list[UsageRecord]:
    return list(islice(records, most))
