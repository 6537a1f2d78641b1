"""A bounded cache in this process's memory, behind aiocache's interface.

aiocache's own memory backend has no bound and keeps a timer for each entry. This one drops the entry that was unused
longest, and finds out at the next look that an entry's time is up.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from aiocache.base import BaseCache
from aiocache.serializers import NullSerializer


class BoundedMemoryCache(BaseCache):  # type: ignore[misc]  # aiocache has no types
    """At most ``max_size`` entries. ``ttl`` seconds; 0: until there are too many. Values are kept as they are.

    ``max_length``: the most that their lengths may come to, for values of which some are much longer than others; 0: no
    matter.
    """

    NAME = "bounded-memory"

    def __init__(
        self, max_size: int, ttl: float = 0.0, clock: Callable[[], float] = time.monotonic, *, max_length: int = 0
    ) -> None:
        super().__init__(serializer=NullSerializer(), timeout=None, ttl=ttl or None)
        self._max_size = max_size
        self._clock = clock
        self._max_length = max_length
        self._length = 0
        #: Key → value and the time at which it ends; None: never. In order of use, the one unused longest first.
        self._entries: OrderedDict[str, tuple[Any, float | None]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def oldest(self) -> tuple[str, Any] | None:
        """The entry that was unused longest."""
        return next(((key, value) for key, (value, _) in self._entries.items()), None)

    async def _get(self, key: str, encoding: str | None = "utf-8", _conn: Any = None) -> Any:
        entry = self._alive(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry[0]

    async def _multi_get(self, keys: list[str], encoding: str | None = "utf-8", _conn: Any = None) -> list[Any]:
        return [await self._get(key) for key in keys]

    async def _set(self, key: str, value: Any, ttl: float | None, _cas_token: Any = None, _conn: Any = None) -> bool:
        self._drop(key)
        self._entries[key] = value, self._clock() + ttl if ttl else None
        if self._max_length:
            self._length += len(value)
        while len(self._entries) > self._max_size or self._length > self._max_length:
            self._drop(next(iter(self._entries)))
        return True

    async def _multi_set(self, pairs: list[tuple[str, Any]], ttl: float | None, _conn: Any = None) -> bool:
        for key, value in pairs:
            await self._set(key, value, ttl)
        return True

    async def _add(self, key: str, value: Any, ttl: float | None, _conn: Any = None) -> bool:
        if self._alive(key) is not None:
            raise ValueError(f"key {key} exists already")
        return await self._set(key, value, ttl)

    async def _exists(self, key: str, _conn: Any = None) -> bool:
        return self._alive(key) is not None

    async def _expire(self, key: str, ttl: float, _conn: Any = None) -> bool:
        entry = self._alive(key)
        return entry is not None and await self._set(key, entry[0], ttl)

    async def _delete(self, key: str, _conn: Any = None) -> int:
        return int(self._drop(key))

    async def _clear(self, namespace: str | None = None, _conn: Any = None) -> bool:
        for key in [key for key in self._entries if key.startswith(namespace or "")]:
            self._drop(key)
        return True

    def _drop(self, key: str) -> bool:
        entry = self._entries.pop(key, None)
        if entry is not None and self._max_length:
            self._length -= len(entry[0])
        return entry is not None

    def _alive(self, key: str) -> tuple[Any, float | None] | None:
        entry = self._entries.get(key)
        if entry is None or entry[1] is None or entry[1] > self._clock():
            return entry
        self._drop(key)
        return None
