"""Prompts with marks, indexes and counters that fail when told to: for tests of the prompt cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pixiu_py.filters.llm.promptcache.blocks import CHAT, Api, Block, Breakpoint, Telemetry, read
from pixiu_py.filters.llm.promptcache.count import CountFailed, Prompt, SegmentCounter
from pixiu_py.filters.llm.promptcache.markers import Tiers
from pixiu_py.stores.base import StoreError
from pixiu_py.stores.promptcache.base import Entry, Scope, Write
from pixiu_py.stores.promptcache.memory import MemoryIndex, MemoryIndexConfig

BILLING = "x-anthropic-billing-header:"
TELEMETRY = Telemetry([BILLING])
ALL_TIERS = Tiers(["5m", "1h", "24h"], "5m")
USUAL_TIERS = Tiers(["5m", "1h"], "5m")
MARK = {"type": "ephemeral"}


def mark(ttl: str = "") -> dict[str, str]:
    """A marker."""
    return {**MARK, "ttl": ttl} if ttl else dict(MARK)


def text(content: str, ttl: str | None = None) -> dict[str, Any]:
    """A text part; marked if ``ttl`` is given, which may be empty."""
    part: dict[str, Any] = {"type": "text", "text": content}
    return part if ttl is None else {**part, "cache_control": mark(ttl)}


def user(*parts: Any) -> dict[str, Any]:
    """A message of the user."""
    return {"role": "user", "content": list(parts)}


def system(*parts: Any) -> dict[str, Any]:
    """A system message."""
    return {"role": "system", "content": list(parts)}


def chat(*messages: Any, **fields: Any) -> dict[str, Any]:
    """The body of a chat completion."""
    return {"model": "m", "messages": list(messages), **fields}


def parsed(document: dict[str, Any], api: Api = CHAT, tiers: Tiers = ALL_TIERS) -> tuple[list[Block], list[Breakpoint]]:
    """Blocks and breakpoints."""
    return read(api, document, tiers, TELEMETRY)


def prompt(document: dict[str, Any], api: Api = CHAT) -> Prompt:
    """A prompt, ready to be classified."""
    return Prompt(api, document, *parsed(document, api), size=0)


class Words(SegmentCounter):
    """A token for each word."""

    def __init__(self) -> None:
        self.known: str | None = "words-1"
        self.fails = ""
        self.asked: list[list[str]] = []

    async def version(self, model: str) -> str | None:
        if self.fails == "version":
            raise CountFailed("tokenizer_unreachable", "told to")
        return self.known

    async def segments(self, model: str, texts: list[str]) -> list[int]:
        self.asked.append(texts)
        if self.fails:
            raise CountFailed("tokenize_failed", "told to")
        return [len(content.split()) for content in texts]


class Index(MemoryIndex):
    """A memory index that can be out of order, and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(MemoryIndexConfig())
        self.fails = False
        self.lookups: list[Sequence[bytes]] = []
        self.commits: list[tuple[Scope, Sequence[Write], Sequence[Write], float]] = []

    async def lookup(self, scope: Scope, hashes: Sequence[bytes], now: float) -> Mapping[bytes, Entry]:
        self.lookups.append(hashes)
        if self.fails:
            raise StoreError("told to")
        return await super().lookup(scope, hashes, now)

    async def commit(self, scope: Scope, writes: Sequence[Write], slides: Sequence[Write], now: float) -> None:
        if self.fails:
            raise StoreError("told to")
        self.commits.append((scope, writes, slides, now))
        await super().commit(scope, writes, slides, now)
