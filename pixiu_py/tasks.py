"""Owned background tasks: each has a name, an owner that ends it, and somebody who hears when it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

import structlog

log = structlog.get_logger("pixiu_py.tasks")


class Tasks:
    """The tasks of one owner. ``close()`` cancels and awaits what is still running."""

    def __init__(self, owner: str, limit: int = 10_000) -> None:
        self._owner = owner
        self._limit = limit
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, coroutine: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Start ``coroutine`` as a task. Raises ``RuntimeError`` above the owner's limit."""
        if len(self._tasks) >= self._limit:
            coroutine.close()
            raise RuntimeError(f"{self._owner} has {self._limit} tasks already")
        task = asyncio.get_running_loop().create_task(coroutine, name=f"{self._owner}: {name}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def spread(self, steps: Iterable[None], name: str) -> None:
        """Take ``steps`` one by one, with whatever else there is to do in between; all at once when no loop is running."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            for _ in steps:
                pass
            return
        _ = self.spawn(_in_turns(steps), name)

    async def close(self) -> None:
        """Cancel every task and wait until each has ended."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            log.error("task failed", task=task.get_name(), exc_info=error)


async def _in_turns(steps: Iterable[None]) -> None:
    for _ in steps:
        await asyncio.sleep(0)
