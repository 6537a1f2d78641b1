"""Hashes of prefixes: one running SHA-256 over the blocks, and which of its values may have been seen before. Pure.

Each block adds its role, a zero byte and its canonical JSON without its own marker. So neither a marker nor the order of
keys changes a hash, and a conversation that has grown still has the hashes that it had. Model and principal are not in it:
they are the scope under which it is looked up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any

from pixiu_py.filters.llm.canonical import canonical
from pixiu_py.filters.llm.promptcache.blocks import Block, Breakpoint
from pixiu_py.filters.llm.promptcache.markers import MARKER

#: How many blocks, the marked one included, an earlier breakpoint is looked for.
WALK_BACK = 20


class Hasher:
    """The running hash of one prompt. Fed with blocks; ``hashes[n]`` covers the blocks up to and with number n."""

    __slots__ = ("_state", "hashes", "size")

    def __init__(self) -> None:
        self._state = sha256()
        self.hashes: list[bytes] = []
        #: Bytes hashed so far.
        self.size = 0

    def add(self, block: Block) -> None:
        """Take the next block."""
        data = block.role.encode("utf-8", "surrogatepass") + b"\0" + canonical(unmarked(block.value))
        self._state.update(data)
        self.size += len(data)
        self.hashes.append(self._state.digest())


def unmarked(value: Any) -> Any:
    """A block's value without its own marker; a property of that name further inside stays."""
    if type(value) is dict and MARKER in value:
        return {key: item for key, item in value.items() if key != MARKER}
    return value


def hashes(blocks: Iterable[Block]) -> list[bytes]:
    """The hashes of all prefixes of these blocks."""
    hasher = Hasher()
    for block in blocks:
        hasher.add(block)
    return hasher.hashes


def candidates(found: Sequence[bytes], block: int) -> list[bytes]:
    """The prefixes that a breakpoint at ``block`` may read, longest first."""
    return [found[number] for number in range(block, max(-1, block - WALK_BACK), -1)]


def all_candidates(found: Sequence[bytes], breakpoints: Iterable[Breakpoint]) -> list[bytes]:
    """Those of all breakpoints, each once."""
    return list(dict.fromkeys(hash_ for point in breakpoints for hash_ in candidates(found, point.block)))
