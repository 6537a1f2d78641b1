"""Puts into the index what a successful answer has earned: off the response path, bounded in number and in time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from pixiu_py.observability.seldom import Seldom
from pixiu_py.stores.base import StoreError
from pixiu_py.stores.promptcache.base import PrefixIndex, Scope
from pixiu_py.tasks import Tasks

if TYPE_CHECKING:
    from pixiu_py.filters.llm.promptcache.classify import Outcome

#: Seconds that a classification waits for commits of its scope.
SETTLING = 0.5

log = structlog.get_logger("pixiu_py.filters.promptcache")


class Commits:
    """The commits of one filter: at most ``most`` at a time, each for at most ``seconds``. ``results`` counts them."""

    def __init__(
        self,
        index: PrefixIndex,
        most: int,
        seconds: float,
        clock: Callable[[], float],
        results: Callable[[str], None],
    ) -> None:
        self._index = index
        self._most = most
        self._seconds = seconds
        self._clock = clock
        self._results = results
        self._tasks = Tasks("prompt cache commits", most + 1)
        self._lost = Seldom(time.monotonic)
        #: By scope, what is being committed.
        self._under_way: dict[Scope, set[asyncio.Task[None]]] = {}

    def submit(self, outcome: Outcome) -> None:
        """Commit soon. Never waits and never fails."""
        scope = outcome.scope
        if scope is None or not (outcome.writes or outcome.slides):
            return
        if len(self._tasks) >= self._most:
            self._results("dropped")
            return
        task = self._tasks.spawn(self._commit(scope, outcome), "commit")
        self._under_way.setdefault(scope, set()).add(task)
        task.add_done_callback(lambda done: self._ended(scope, done))

    async def settled(self, scope: Scope) -> None:
        """Wait for the commits of a scope that are under way: who has had an answer finds what it wrote.

        Not for long: a commit that hangs must not make others late.
        """
        under_way = self._under_way.get(scope)
        if under_way:
            await asyncio.wait(tuple(under_way), timeout=SETTLING)

    async def close(self) -> None:
        """Let what is under way come to its end, or its deadline."""
        waiting = [task for tasks in self._under_way.values() for task in tasks]
        if waiting:
            await asyncio.wait(waiting, timeout=self._seconds)
        await self._tasks.close()

    async def _commit(self, scope: Scope, outcome: Outcome) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                await self._index.commit(scope, outcome.writes, outcome.slides, self._clock())
        except TimeoutError:
            self._results("timeout")
        except StoreError as error:
            self._results("failed")
            lost = self._lost.happened()
            if lost:
                log.warning("prompt cache: commits were lost", lost=lost, error=str(error))
        else:
            self._results("ok")

    def _ended(self, scope: Scope, task: asyncio.Task[None]) -> None:
        tasks = self._under_way.get(scope)
        if tasks is not None:
            tasks.discard(task)
            if not tasks:
                del self._under_way[scope]
