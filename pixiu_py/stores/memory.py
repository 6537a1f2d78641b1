"""The store in this process's memory: bounded, and gone with the process."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import Annotated, ClassVar

from msgspec import Meta

from pixiu_py.config.types import Model
from pixiu_py.registry import Family, plugin
from pixiu_py.stores.base import Store, StoreError


class MemoryConfig(Model, frozen=True):
    """Keys of the memory store."""

    max_entries: Annotated[int, Meta(ge=1, description="Most entries; above it the one unused longest is dropped.")] = (
        10_000
    )


@plugin(Family.STORE, "memory")
class MemoryStore(Store):
    """Keeps entries in this process: for one worker, or for what need not be shared."""

    Config: ClassVar[type[MemoryConfig]] = MemoryConfig

    def __init__(self, config: MemoryConfig, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(config)
        self._clock = clock
        #: Key → (value, time at which it ends; 0: never). In order of use, the one unused longest first.
        self._entries: dict[str, tuple[bytes, float]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    async def get(self, key: str) -> bytes | None:
        """See ``Store.get``."""
        return self.get_now(key)

    def get_now(self, key: str) -> bytes | None:
        """The same, for those who know that this store never waits."""
        entry = self._entries.pop(key, None)
        if entry is None or (entry[1] and entry[1] <= self._clock()):
            return None
        self._entries[key] = entry  # used last
        return entry[0]

    async def set(self, key: str, value: bytes, ttl: float = 0.0) -> None:
        """See ``Store.set``."""
        self._put(key, value, self._end(ttl))

    async def add(self, key: str, value: bytes, ttl: float = 0.0) -> bool:
        """See ``Store.add``."""
        if self._alive(key) is not None:
            return False
        self._put(key, value, self._end(ttl))
        return True

    async def swap(self, key: str, old: bytes, new: bytes, ttl: float = 0.0) -> bool:
        """See ``Store.swap``."""
        entry = self._alive(key)
        if entry is None or entry[0] != old:
            return False
        self._put(key, new, self._end(ttl))
        return True

    async def increment(self, key: str, by: int = 1, ttl: float = 0.0) -> int:
        """See ``Store.increment``."""
        value, end = self._alive(key) or (b"0", self._end(ttl))
        try:
            number = int(value) + by
        except ValueError:
            raise StoreError("the value is no number") from None
        self._put(key, b"%d" % number, end)
        return number

    async def delete(self, key: str) -> None:
        """See ``Store.delete``."""
        self._entries.pop(key, None)

    async def scan(self, prefix: str) -> AsyncIterator[tuple[str, bytes]]:
        """See ``Store.scan``. What is changed meanwhile is seen or not."""
        for key in [key for key in self._entries if key.startswith(prefix)]:
            entry = self._alive(key)
            if entry is not None:
                yield key, entry[0]

    def _alive(self, key: str) -> tuple[bytes, float] | None:
        entry = self._entries.get(key)
        if entry is None or not entry[1] or entry[1] > self._clock():
            return entry
        del self._entries[key]
        return None

    def _put(self, key: str, value: bytes, end: float) -> None:
        self._entries.pop(key, None)
        self._entries[key] = (value, end)
        if len(self._entries) > self.config.max_entries:
            del self._entries[next(iter(self._entries))]

    def _end(self, ttl: float) -> float:
        return self._clock() + ttl if ttl else 0.0
