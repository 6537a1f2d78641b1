"""A table of chunks: who holds the text up to the end of each, in flat arrays. Pure; the stamps are given.

Set-associative, like a processor's cache: a key belongs into one row of ``WAYS`` cells, and in a full row the cell that has
gone unused longest makes room. So every operation costs the same, at any time and for any sequence of them: there is no
hash table to grow, and nothing to sweep. A cell is 16 bytes and a bit per endpoint. ``lookup`` and ``add`` find their cells
without a call, which is most of what a prompt costs.

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
#: Slots that share a word, and a word full of bits.
_BITS = 64
_WORD = 2**_BITS - 1


class ChunkTable:
    """At most ``capacity`` chunks (rounded up to whole rows), held by at most ``slots`` endpoints."""

    def __init__(self, capacity: int, slots: int) -> None:
        self._rows = -(-capacity // WAYS)
        cells = self._rows * WAYS
        self._keys = bytearray(cells * KEY_SIZE)
        #: Per 64 slots the bits of all cells.
        self._words = [array("Q", bytes(8 * cells)) for _ in range(-(-slots // _BITS))]
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
        stamps, words, rows, find = self._stamps, self._words, self._rows, self._keys.find
        only = words[0] if len(words) == 1 else None
        seen, alive, count = 0, 0, 0
        for key, number in zip(keys, _numbers(keys), strict=True):
            start = number % rows * _ROW
            at = find(key, start, start + _ROW)
            cell = at >> 3 if not at & 7 else self._locate(key, number)
            if cell < 0:
                break
            stamp = stamps[cell]
            if stamp < oldest:
                break
            if stamp != seen:
                seen, alive = stamp, self._alive(stamp)
            holders = (only[cell] if only is not None else self._mask(cell)) & alive & slots
            if holders != slots:
                if count:
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
        stamps, rows, find = self._stamps, self._rows, self._keys.find
        index, bit = slot // _BITS, 1 << slot % _BITS
        word = self._words[index]
        for key, number in zip(keys, _numbers(keys), strict=True):
            start = number % rows * _ROW
            at = find(key, start, start + _ROW)
            cell = at >> 3 if not at & 7 else self._locate(key, number)
            if cell < 0:
                cell = self._make_room(key, number)
            else:
                before = stamps[cell]
                if before < oldest:
                    self._clear(cell, 0)
                elif before < self._latest:
                    self._clear(cell, self._alive(before))
            stamps[cell] = stamp
            word[cell] |= bit

    def remove(self, keys: Sequence[bytes], slot: int) -> None:
        """``slot`` does not hold these chunks."""
        word, rest = self._words[slot // _BITS], ~(1 << slot % _BITS)
        for key, number in zip(keys, _numbers(keys), strict=True):
            cell = self._locate(key, number)
            if cell >= 0:
                word[cell] &= rest

    def _locate(self, key: bytes, number: int) -> int:
        """The cell of ``key``, whose value is ``number``; or -1."""
        start = number % self._rows * _ROW
        at = self._keys.find(key, start, start + _ROW)
        while at >= 0 and at % KEY_SIZE:  # across two keys, by chance
            at = self._keys.find(key, at + 1, start + _ROW)
        return at // KEY_SIZE if at >= 0 else -1

    def _make_room(self, key: bytes, number: int) -> int:
        first = number % self._rows * WAYS
        stamps = self._stamps[first : first + WAYS]
        oldest = min(stamps)
        cell = first + stamps.index(oldest)
        if not oldest:
            self._used += 1
        self._keys[cell * KEY_SIZE : (cell + 1) * KEY_SIZE] = key
        self._clear(cell, 0)
        return cell

    def _clear(self, cell: int, alive: int) -> None:
        """Leave a cell the bits that are in ``alive``."""
        for index, word in enumerate(self._words):
            word[cell] &= alive >> index * _BITS & _WORD

    def _mask(self, cell: int) -> int:
        return sum(word[cell] << index * _BITS for index, word in enumerate(self._words))

    def _alive(self, stamp: int) -> int:
        """The bits of slots that count in a cell last used at ``stamp``."""
        if stamp >= self._latest:
            return -1
        dead = 0
        for slot, since in enumerate(self._since):
            if since > stamp:
                dead |= 1 << slot
        return ~dead


def _numbers(keys: Sequence[bytes]) -> array[int]:
    """The keys as numbers, of which only the even spread counts."""
    return array("Q", b"".join(keys))
