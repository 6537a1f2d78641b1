"""The prefix index in this process's memory: bounded, and gone with the process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

from msgspec import Meta

from pixiu_py.config.types import Model
from pixiu_py.registry import Family, plugin
from pixiu_py.stores.promptcache.base import Entry, PrefixIndex, Scope, Write, merged, steps


class MemoryIndexConfig(Model, frozen=True):
    """Keys of the memory index."""

    max_entries: Annotated[
        int, Meta(ge=1, description="Most prefixes; above it the one unused longest is dropped.")
    ] = 100_000


@plugin(Family.PREFIX_INDEX, "memory")
class MemoryIndex(PrefixIndex):
    """Remembers prefixes in this process: for one worker, or to try things out."""

    Config: ClassVar[type[MemoryIndexConfig]] = MemoryIndexConfig

    def __init__(self, config: MemoryIndexConfig) -> None:
        super().__init__(config)
        #: In order of use, the one unused longest first.
        self._entries: dict[tuple[Scope, bytes], Entry] = {}

    async def lookup(self, scope: Scope, hashes: Sequence[bytes], now: float) -> Mapping[bytes, Entry]:
        """See ``PrefixIndex.lookup``."""
        found = {}
        for hash_ in hashes:
            entry = self._entries.get((scope, hash_))
            if entry is not None and entry.expires_at > now:
                found[hash_] = entry
                self._put(scope, entry)
        return found

    async def commit(self, scope: Scope, writes: Sequence[Write], slides: Sequence[Write], now: float) -> None:
        """See ``PrefixIndex.commit``."""
        for write, slide in steps(writes, slides):
            self._put(scope, merged(self._entries.get((scope, write.hash)), write, now, slide=slide))
        while len(self._entries) > self.config.max_entries:
            del self._entries[next(iter(self._entries))]

    async def sweep(self, now: float, limit: int) -> int:
        """See ``PrefixIndex.sweep``."""
        over = [key for key, entry in self._entries.items() if entry.expires_at <= now][:limit]
        for key in over:
            del self._entries[key]
        return len(over)

    def _put(self, scope: Scope, entry: Entry) -> None:
        self._entries.pop((scope, entry.hash), None)  # used last
        self._entries[scope, entry.hash] = entry
