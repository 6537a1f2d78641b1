"""Removes what is over from an index, a little at a time, so that no table grows for ever."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from pixiu_py.stores.base import StoreError
from pixiu_py.stores.promptcache.base import PrefixIndex
from pixiu_py.tasks import Tasks

log = structlog.get_logger("pixiu_py.stores.promptcache")


class Sweeper:
    """Sweeps an index every ``interval`` seconds, ``batch`` entries in one step and until nothing is left.

    Several processes may sweep one index: each removes what the others have not.
    """

    def __init__(self, index: PrefixIndex, interval: float, batch: int, clock: Callable[[], float] = time.time) -> None:
        self._index = index
        self._interval = interval
        self._batch = batch
        self._clock = clock
        self._tasks = Tasks("prefix index")
        self.swept = 0

    def start(self) -> None:
        """Begin; the first sweep is at once."""
        _ = self._tasks.spawn(self._run(), "sweep")

    async def close(self) -> None:
        """End."""
        await self._tasks.close()

    async def _run(self) -> None:
        while True:
            try:
                await self._sweep()
            except StoreError as error:
                log.warning("prefix index cannot be swept", error=str(error))
            await asyncio.sleep(self._interval)

    async def _sweep(self) -> None:
        """Until a step finds less than it may remove."""
        while True:
            removed = await self._index.sweep(self._clock(), self._batch)
            self.swept += removed
            if removed < self._batch:
                return
