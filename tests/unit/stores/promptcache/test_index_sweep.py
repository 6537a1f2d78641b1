"""A sweep ends when nothing is left, goes on after failures, and comes back."""

from __future__ import annotations

import asyncio

from pixiu_py.stores.base import StoreError
from pixiu_py.stores.promptcache.base import PrefixIndex
from pixiu_py.stores.promptcache.sweep import Sweeper


class Dusty(PrefixIndex):
    """Has so many entries to remove."""

    def __init__(self, left: int) -> None:
        super().__init__(None)
        self.left = left
        self.calls: list[tuple[float, int]] = []
        self.fails = 0
        self.called = asyncio.Event()

    async def sweep(self, now: float, limit: int) -> int:
        """See ``PrefixIndex.sweep``."""
        self.calls.append((now, limit))
        self.called.set()
        if self.fails:
            self.fails -= 1
            raise StoreError("away")
        removed = min(self.left, limit)
        self.left -= removed
        return removed


async def test_it_removes_a_little_at_a_time_until_nothing_is_left() -> None:
    index = Dusty(25)
    sweeper = Sweeper(index, 1000.0, 10, lambda: 5.0)
    sweeper.start()
    async with asyncio.timeout(10):
        while sweeper.swept < 25:
            await asyncio.sleep(0)
    await sweeper.close()
    assert index.calls == [(5.0, 10)] * 3


async def test_a_failure_is_not_the_last_sweep() -> None:
    index = Dusty(3)
    index.fails = 2
    sweeper = Sweeper(index, 0.001, 10)
    sweeper.start()
    async with asyncio.timeout(10):
        while index.left:
            await asyncio.sleep(0.001)
    await sweeper.close()
    calls = len(index.calls)
    await asyncio.sleep(0.005)
    assert len(index.calls) == calls
