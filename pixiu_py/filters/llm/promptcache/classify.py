"""What of a prompt is read from the cache, and what is written: looked up, counted, split.

A fault on our side never becomes the client's: what cannot be looked up is not cached, what cannot be counted is not
written, and a prefix that was found stays found.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

from pixiu_py.filters.llm.promptcache.blocks import Breakpoint
from pixiu_py.filters.llm.promptcache.count import CountFailed, Prompt, TokenCounter
from pixiu_py.filters.llm.promptcache.prefixes import all_candidates, hashes
from pixiu_py.filters.llm.promptcache.usage import ZERO, Split
from pixiu_py.stores.base import StoreError
from pixiu_py.stores.promptcache.base import Entry, PrefixIndex, Scope, Tier, Write, longer

#: Bodies above this are hashed in a thread: the loop has others to serve.
THREAD_SIZE = 256 * 1024


class Outcome(NamedTuple):
    """What is known of one request's prefixes."""

    split: Split = ZERO
    scope: Scope | None = None
    #: For the index, if the answer is a success.
    writes: tuple[Write, ...] = ()
    slides: tuple[Write, ...] = ()
    #: Why nothing, or less than there was, is cached; a word for metrics.
    skipped: str = ""
    #: It was skipped for a fault, not by a rule.
    degraded: bool = False
    #: The counts are no tokenizer's.
    estimated: bool = False

    @property
    def name(self) -> str:
        """The outcome in a word, for metrics."""
        if self.split.read:
            return "read_and_create" if self.split.written else "read"
        return "create_only" if self.split.written else "zero"


NOTHING_MARKED = Outcome(skipped="no_markers")


class Classifier:
    """Looks up and counts. ``settled`` waits for the commits of a scope that are on their way."""

    def __init__(
        self,
        index: PrefixIndex,
        counter: TokenCounter,
        clock: Callable[[], float],
        settled: Callable[[Scope], Awaitable[None]] | None = None,
    ) -> None:
        self._index = index
        self._counter = counter
        self._clock = clock
        self._settled = settled

    async def classify(self, principal: str, model: str, floor: int, prompt: Prompt) -> Outcome:
        """The outcome for a prompt with breakpoints. ``floor``: a shorter prefix is not cached."""
        counter = self._counter
        try:
            version = await counter.version(model)
        except CountFailed as error:
            return Outcome(skipped=error.reason, degraded=True)
        if version is None:
            return Outcome(skipped="tokenizer_unmapped")
        scope = Scope(principal, model, version)
        known = await _hashed(prompt)
        if self._settled is not None:
            await self._settled(scope)
        try:
            found = await self._index.lookup(scope, all_candidates(known, prompt.breakpoints), self._clock())
        except StoreError:
            return Outcome(scope=scope, skipped="index", degraded=True)
        matches = _matches(known, found)
        after = max(matches, default=-1)
        read = max(0, matches[after].tokens) if matches else 0
        slides = tuple(_slide(entry, number, prompt.breakpoints) for number, entry in sorted(matches.items()))
        points = [point for point in prompt.breakpoints if point.block > after]
        if not points:
            return Outcome(Split(read), scope, (), slides, estimated=counter.estimated)
        try:
            counts = await counter.count(model, prompt, after, read, points)
        except CountFailed as error:
            return Outcome(Split(read), scope, (), slides, error.reason, degraded=True, estimated=counter.estimated)
        if counts[-1] < floor:
            return Outcome(scope=scope, skipped="below_floor", estimated=counter.estimated)
        writes = tuple(
            Write(known[point.block], tokens, point.tier) for point, tokens in zip(points, counts, strict=True)
        )
        return Outcome(split_of(read, points, counts), scope, writes, slides, estimated=counter.estimated)


async def _hashed(prompt: Prompt) -> list[bytes]:
    """The hashes up to the deepest breakpoint; the rest is asked for by nobody."""
    blocks = prompt.blocks[: prompt.breakpoints[-1].block + 1]
    if prompt.size > THREAD_SIZE:
        return await asyncio.to_thread(hashes, blocks)
    return hashes(blocks)


def _matches(known: Sequence[bytes], found: Mapping[bytes, Entry]) -> dict[int, Entry]:
    """What was found, by block."""
    if not found:
        return {}
    return {number: found[hash_] for number, hash_ in enumerate(known) if hash_ in found}


def _slide(entry: Entry, number: int, points: Sequence[Breakpoint]) -> Write:
    """A read prefix lives on; for longer, if it is marked so now."""
    tier: Tier = entry.tier
    for point in points:
        if point.block == number:
            tier = longer(tier, point.tier)
    return Write(entry.hash, entry.tokens, tier)


def split_of(read: int, points: Sequence[Breakpoint], counts: Sequence[int]) -> Split:
    """What each point writes: from the one before it, or from what was read."""
    split = Split(read)
    before = read
    for point, tokens in zip(points, counts, strict=True):
        split = split.plus(point.tier, max(0, tokens - before))
        before = max(before, tokens)
    return split
