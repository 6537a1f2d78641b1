"""Reads that come while others are on their way: asked together, in one command.

One command costs a client of Redis many times what one more key in it does. A read that finds nothing under way goes out at
once, so gathering delays none; beside a busy store, what has come in the meantime is the next command.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence

from pixiu_py.stores.base import StoreError
from pixiu_py.tasks import Tasks

#: Commands under way at once: while one waits for its answer, another may be written.
_ABREAST = 2
#: Keys in one command.
_MOST_KEYS = 128

Value = bytes | None
#: The values of so many keys, in their order. Raises ``StoreError``.
Ask = Callable[[Sequence[str]], Awaitable[Sequence[Value]]]


class GatheredReads:
    """Reads through ``ask``. While ``one_by_one()`` is true, each key has a command of its own, so that one fails alone."""

    def __init__(self, ask: Ask, name: str, one_by_one: Callable[[], bool]) -> None:
        self._ask = ask
        self._one_by_one = one_by_one
        self._tasks = Tasks(name)
        self._waiting: deque[tuple[str, asyncio.Future[Value]]] = deque()
        self._flights = 0

    async def get(self, key: str) -> Value:
        """The value of one key. Raises ``StoreError``."""
        answer: asyncio.Future[Value] = asyncio.get_running_loop().create_future()
        self._waiting.append((key, answer))
        if self._flights < _ABREAST:
            self._flights += 1
            _ = self._tasks.spawn(self._fly(), "read")
        return await answer

    async def close(self) -> None:
        """Give up what is under way: whoever waits gets a ``StoreError``."""
        await self._tasks.close()
        _refuse(self._waiting, "the store is being closed")
        self._waiting.clear()

    async def _fly(self) -> None:
        try:
            while self._waiting:
                await self._carry(self._boarding())
        finally:
            self._flights -= 1

    def _boarding(self) -> list[tuple[str, asyncio.Future[Value]]]:
        seats = 1 if self._one_by_one() else _MOST_KEYS
        return [self._waiting.popleft() for _ in range(min(seats, len(self._waiting)))]

    async def _carry(self, batch: list[tuple[str, asyncio.Future[Value]]]) -> None:
        batch = [entry for entry in batch if not entry[1].done()]  # those that gave up want no answer
        if not batch:
            return
        try:
            values = await self._ask([key for key, _ in batch])
        except StoreError as error:
            _refuse(batch, str(error))
        except Exception as error:  # noqa: BLE001 - a fault, and each one that waits has to hear of it
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(error)
        except BaseException:
            _refuse(batch, "the store is being closed")
            raise
        else:
            for (_, answer), value in zip(batch, values, strict=True):
                if not answer.done():
                    answer.set_result(value)


def _refuse(batch: Iterable[tuple[str, asyncio.Future[Value]]], reason: str) -> None:
    for _, answer in batch:
        if not answer.done():
            answer.set_exception(StoreError(reason))
