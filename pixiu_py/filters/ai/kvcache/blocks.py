"""Which engine holds which blocks, by hashes of our own, fed with what engines tell. Pure: no sockets, no clock.

Engines' hashes need not agree with each other, so a block is known by a hash of the chain of tokens that it ends. Each
engine's own hashes are kept to understand its removals. What is counted is certain: a block whose parent is unknown, after a
message was lost, cannot be placed and is left out; more blocks than the limit are left out too, so that an index that is
too small finds less and never something wrong.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Sequence
from hashlib import blake2b

from pixiu_py.filters.ai.kvcache.events import Cleared, Event, Hash, Place, Removed, Stored, extra_of

#: Caches within one engine (media times groups of layers).
_MOST_PLACES = 64
#: Adapters of one engine that are remembered.
_MOST_ADAPTERS = 1024


def chain(parent: int, tokens: Iterable[int], extra: bytes = b"") -> int:
    """Our hash of a block: of its parent's, its tokens and what else tells it apart. 64 bits."""
    digest = blake2b(parent.to_bytes(8, "big"), digest_size=8)
    digest.update(array("I", tokens))
    digest.update(extra)
    return int.from_bytes(digest.digest(), "big")


class Blocks:
    """The blocks of one engine, or of one rank of it."""

    __slots__ = ("_known", "_root", "adapters", "held", "orphans", "overflow", "size")

    def __init__(self, root: int) -> None:
        self._root = root
        #: Our hash → how many of the engine's blocks it stands for.
        self.held: dict[int, int] = {}
        #: Cache within the engine → the engine's hash → ours.
        self._known: dict[Place, dict[Hash, int]] = {}
        #: Tokens of a block; 0 until one is known.
        self.size = 0
        self.adapters: set[str] = set()
        #: Blocks that could not be placed, and that were too many, so far.
        self.orphans = 0
        self.overflow = 0

    def __len__(self) -> int:
        return sum(map(len, self._known.values()))

    def apply(self, event: Event, room: int) -> int:
        """Take an event; ``room`` is how many blocks may be added. Returns by how many the number of blocks has changed."""
        match event:
            case Stored():
                return self._store(event, room)
            case Removed():
                return self._remove(event)
            case Cleared():
                return self.clear()

    def clear(self) -> int:
        """Forget every block."""
        count = len(self)
        self._known.clear()
        self.held.clear()
        self.adapters.clear()
        self.size = 0
        return -count

    def matched(self, keys: Iterable[int]) -> int:
        """How many of these blocks, from the first on, are held."""
        held = self.held
        count = 0
        for key in keys:
            if key not in held:
                break
            count += 1
        return count

    def _store(self, event: Stored, room: int) -> int:
        changed = self.clear() if self.size not in (0, event.size) else 0
        self.size = event.size
        known = self._known.get(event.place)
        if known is None:
            if len(self._known) >= _MOST_PLACES:
                return changed
            known = self._known[event.place] = {}
        key = self._root if event.parent is None else self._find(event.place, event.parent)
        if key is None:
            self.orphans += len(event.hashes)
            return changed
        if event.adapter and len(self.adapters) < _MOST_ADAPTERS:
            self.adapters.add(event.adapter)
        for hash_, tokens, extra in zip(event.hashes, event.blocks, event.extras, strict=True):
            key = chain(key, tokens, extra)
            if hash_ in known:
                continue
            if changed >= room:
                self.overflow += 1
                break
            known[hash_] = key
            self.held[key] = self.held.get(key, 0) + 1
            changed += 1
        return changed

    def _find(self, place: Place, hash_: Hash) -> int | None:
        """Our hash of one of the engine's blocks; its parent may lie elsewhere in the engine."""
        known = self._known[place].get(hash_)
        if known is None:
            known = next((blocks[hash_] for blocks in self._known.values() if hash_ in blocks), None)
        return known

    def _remove(self, event: Removed) -> int:
        known = self._known.get(event.place, {})
        removed = 0
        for hash_ in event.hashes:
            key = known.pop(hash_, None)
            if key is None:
                continue
            removed += 1
            left = self.held[key] - 1
            if left:
                self.held[key] = left
            else:
                del self.held[key]
        return -removed


class BlockIndex:
    """The blocks of all engines, at most ``max_blocks`` together. A source is an engine's name and a rank in it."""

    def __init__(self, max_blocks: int, max_sources: int = 1024, root: int | None = None) -> None:
        self._max_blocks = max_blocks
        self._max_sources = max_sources
        #: Where chains begin: different in each process, so that nobody can prepare blocks whose hashes collide.
        self._root = int.from_bytes(os.urandom(8), "big") if root is None else root
        self._sources: dict[tuple[str, int], Blocks] = {}
        self._blocks = 0

    def __len__(self) -> int:
        return self._blocks

    @property
    def orphans(self) -> int:
        """Blocks that could not be placed so far, since a message before them was missed."""
        return sum(blocks.orphans for blocks in self._sources.values())

    @property
    def overflow(self) -> int:
        """How often there was no room for a block so far."""
        return sum(blocks.overflow for blocks in self._sources.values())

    def apply(self, instance: str, rank: int, events: Iterable[Event]) -> None:
        """Take what one engine tells, in its order."""
        blocks = self._source(instance, rank)
        if blocks is None:
            return
        for event in events:
            self._blocks += blocks.apply(event, self._max_blocks - self._blocks)

    def forget(self, instance: str, rank: int) -> None:
        """Nothing is known of this engine any more."""
        blocks = self._sources.get((instance, rank))
        if blocks is not None:
            self._blocks += blocks.clear()

    def drop(self, instance: str, rank: int) -> None:
        """This engine is gone for good, and what was counted of it with it."""
        self.forget(instance, rank)
        self._sources.pop((instance, rank), None)

    def lookup(self, tokens: Sequence[int], model: str = "", salt: str = "") -> dict[str, int]:
        """Engine → how many tokens of this prompt, from the first on, it holds. Engines that hold nothing are left out.

        ``model`` is the name that is asked for: a prompt of an adapter finds that adapter's blocks only.
        """
        found: dict[str, int] = {}
        chains: dict[tuple[int, str], list[int]] = {}
        for (instance, _), blocks in self._sources.items():
            if not blocks.held:
                continue
            adapter = model if model in blocks.adapters else ""
            kind = blocks.size, adapter
            keys = chains.get(kind)
            if keys is None:
                keys = chains[kind] = self._chain(tokens, blocks.size, adapter, salt)
            matched = blocks.matched(keys) * blocks.size
            if matched > found.get(instance, 0):
                found[instance] = matched
        return found

    def _chain(self, tokens: Sequence[int], size: int, adapter: str, salt: str) -> list[int]:
        keys = []
        key = self._root
        for start in range(0, len(tokens) - size + 1, size):
            extra = extra_of(adapter, "" if start else salt)
            key = chain(key, tokens[start : start + size], extra)
            keys.append(key)
        return keys

    def _source(self, instance: str, rank: int) -> Blocks | None:
        blocks = self._sources.get((instance, rank))
        if blocks is None and len(self._sources) < self._max_sources:
            blocks = self._sources[instance, rank] = Blocks(self._root)
        return blocks
