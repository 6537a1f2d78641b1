"""A table of chunks: who holds the text up to the end of each, in flat arrays. Pure; the stamps are given.

Set-associative, like a processor's cache: a key belongs into one row of ``WAYS`` cells, and in a full row the cell that has
gone unused longest makes room. So every operation costs the same, at any time and for any sequence of them: there is no
hash table to grow, and nothing to sweep. A cell is 16 bytes and a bit per endpoint.

An endpoint has a slot, one bit of every cell. That its cache is gone is remembered as a stamp of the slot: bits that
were set before it do not count, and are cleared when their cell is next used.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from pixiu_py.filters.ai.kvcache.prompt import KEY_SIZE

#: Cells of a row.
WAYS = 8
_ROW = WAYS * KEY_SIZE
_FREE = bytes(KEY_SIZE)


class ChunkTable:
    """At most ``capacity`` chunks (rounded up to whole rows), held by at most ``slots`` endpoints."""

    def __init__(self, capacity: int, slots: int) -> None:
        self._rows = -(-capacity // WAYS)
        self._width = -(-slots // 8)
        cells = self._rows * WAYS
        self._keys = bytearray(cells * KEY_SIZE)
        self._masks = bytearray(cells * self._width)
        #: When a cell was last used; 0: it is free.
        self._stamps = array("Q", bytes(8 * cells))
        #: By slot: bits of cells that were last used before this do not count.
        self._since = [0] * slots
        self._latest = 0
        self._used = 0

    def __len__(self) -> int:
        """Cells in use."""
        return self._used

    @property
    def capacity(self) -> int:
        """Most chunks that it can hold."""
        return self._rows * WAYS

    def reset(self, slot: int, stamp: int) -> None:
        """Nothing that ``slot`` was given before ``stamp`` counts any more."""
        if stamp > self._since[slot]:
            self._since[slot] = stamp
            self._latest = max(self._latest, stamp)

    def lookup(self, keys: Sequence[bytes], oldest: int, slots: int) -> list[tuple[int, int]]:
        """Who holds how many leading chunks: (bits of slots, chunks), longest first; each slot once.

        ``slots`` are the bits that are asked about; cells last used before ``oldest`` do not count.
        """
        found: list[tuple[int, int]] = []
        seen, alive = 0, 0
        count = 0
        for key in keys:
            cell = self._find(key)
            if cell < 0:
                break
            stamp = self._stamps[cell]
            if stamp < oldest:
                break
            if stamp != seen:
                seen, alive = stamp, self._alive(stamp)
            holders = self._mask(cell) & alive & slots
            if holders != slots:
                if count and slots & ~holders:
                    found.append((slots & ~holders, count))
                slots = holders
                if not slots:
                    break
            count += 1
        if slots and count:
            found.append((slots, count))
        found.reverse()
        return found

    def add(self, keys: Sequence[bytes], slot: int, stamp: int, oldest: int) -> None:
        """``slot`` holds the text of all these chunks at ``stamp``, which is later than any before."""
        bit = 1 << slot
        width = self._width
        for key in keys:
            cell = self._find(key)
            if cell < 0:
                cell = self._make_room(key)
                mask = bit
            else:
                before = self._stamps[cell]
                mask = bit if before < oldest else self._mask(cell) & self._alive(before) | bit
            self._stamps[cell] = stamp
            self._masks[cell * width : (cell + 1) * width] = mask.to_bytes(width, "little")

    def remove(self, keys: Sequence[bytes], slot: int) -> None:
        """``slot`` does not hold these chunks."""
        width = self._width
        for key in keys:
            cell = self._find(key)
            if cell >= 0:
                mask = self._mask(cell) & ~(1 << slot)
                self._masks[cell * width : (cell + 1) * width] = mask.to_bytes(width, "little")

    def _find(self, key: bytes) -> int:
        """The cell of ``key``, or -1."""
        start = int.from_bytes(key, "little") % self._rows * _ROW
        at = self._keys.find(key, start, start + _ROW)
        while at >= 0 and at % KEY_SIZE:  # across two keys, by chance
            at = self._keys.find(key, at + 1, start + _ROW)
        return at // KEY_SIZE if at >= 0 else -1

    def _make_room(self, key: bytes) -> int:
        first = int.from_bytes(key, "little") % self._rows * WAYS
        stamps = self._stamps[first : first + WAYS]
        oldest = min(stamps)
        cell = first + stamps.index(oldest)
        if not oldest:
            self._used += 1
        self._keys[cell * KEY_SIZE : (cell + 1) * KEY_SIZE] = key
        return cell

    def _mask(self, cell: int) -> int:
        width = self._width
        return int.from_bytes(self._masks[cell * width : (cell + 1) * width], "little")

    def _alive(self, stamp: int) -> int:
        """The bits of slots that count in a cell last used at ``stamp``."""
        if stamp >= self._latest:
            return -1
        dead = 0
        for slot, since in enumerate(self._since):
            if since > stamp:
                dead |= 1 << slot
        return ~dead
