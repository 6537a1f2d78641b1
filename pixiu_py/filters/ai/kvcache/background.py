"""Work that no request waits for: with a life of its own, bounded in number and in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import structlog

from pixiu_py.tasks import Tasks
from pixiu_py.upstream.client import CallFailed

if TYPE_CHECKING:
    from pixiu_py.observability.metrics import Counter

log = structlog.get_logger("pixiu_py.filters.kvcache")


class Background:
    """At most ``most`` jobs at a time, each for at most ``seconds``, and one at a time for a key."""

    def __init__(self, most: int, seconds: float, results: Counter) -> None:
        self._most = most
        self._seconds = seconds
        #: By job and result: ``ok``, ``failed``, ``timeout``, ``dropped``.
        self._results = results
        self._tasks = Tasks("kvcache background", most + 1)
        self._keys: set[tuple[str, bytes]] = set()

    def __len__(self) -> int:
        return len(self._keys)

    async def close(self) -> None:
        """End what is running."""
        await self._tasks.close()

    def submit(self, name: str, key: bytes, work: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        """Do ``work``, unless it is being done for this key; False when there is too much to do already."""
        entry = name, key
        if entry in self._keys:
            return True
        if len(self._keys) >= self._most:
            self._results.inc((name, "dropped"))
            return False
        self._keys.add(entry)
        task = self._tasks.spawn(self._do(name, work), name)
        task.add_done_callback(lambda _: self._keys.discard(entry))
        return True

    async def _do(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                await work()
        except TimeoutError:
            self._results.inc((name, "timeout"))
        except CallFailed as error:
            self._results.inc((name, "failed"))
            log.debug("background work failed", work=name, error=str(error))
        else:
            self._results.inc((name, "ok"))
