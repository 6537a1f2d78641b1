"""How many tokens a prefix has: the contract, and the two counters that need nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pixiu_py.errors import PixiuError, StartError
from pixiu_py.filters.llm.promptcache.blocks import Api, Block, Breakpoint

if TYPE_CHECKING:
    from pixiu_py.clusters.endpoint import Endpoint

#: UTF-8 bytes of a token, as is usual for English text.
BYTES_PER_TOKEN = 4


class CountFailed(PixiuError):
    """Nobody could count. ``reason`` is a word for metrics."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


class Prompt(NamedTuple):
    """One request's prompt, read and not yet counted."""

    api: Api
    document: dict[str, Any]
    blocks: Sequence[Block]
    breakpoints: Sequence[Breakpoint]
    #: Bytes of the body, for whoever decides where to work on it.
    size: int
    #: Who may be asked, if it is the engine that counts.
    endpoint: Endpoint | None = None


class TokenCounter:
    """Base of counters. ``after`` is the last block that has been counted already, -1 for none, ``read`` its tokens."""

    #: True when the counts are not a tokenizer's.
    estimated = False

    async def start(self) -> None:
        """Open what is needed. Raises ``StartError``."""

    async def close(self) -> None:
        """Release it."""

    async def version(self, model: str) -> str | None:
        """Which tokenizer counts for a model; None when none does. Counts of different ones never mix.

        Raises ``CountFailed``.
        """
        raise NotImplementedError

    async def count(self, model: str, prompt: Prompt, after: int, read: int, points: Sequence[Breakpoint]) -> list[int]:
        """Tokens of the whole prefix at each of ``points``, all of which are behind ``after``. Raises ``CountFailed``."""
        raise NotImplementedError


class SegmentCounter(TokenCounter):
    """A counter of texts: only the blocks behind ``after`` are looked at, each by itself."""

    async def segments(self, model: str, texts: list[str]) -> list[int]:
        """Tokens of each text. Raises ``CountFailed``."""
        raise NotImplementedError

    async def count(self, model: str, prompt: Prompt, after: int, read: int, points: Sequence[Breakpoint]) -> list[int]:
        """See ``TokenCounter.count``."""
        texts = [block.text for block in prompt.blocks[after + 1 : points[-1].block + 1]]
        counts = await self.segments(model, texts)
        if len(counts) != len(texts):
            raise CountFailed("count_mismatch", f"{len(counts)} counts for {len(texts)} texts")
        sums = list(accumulate(counts, initial=read))
        return [sums[point.block - after] for point in points]


class Estimate(SegmentCounter):
    """Four bytes are a token. Said to be an estimate wherever a count is kept."""

    estimated = True

    async def version(self, model: str) -> str:
        """See ``TokenCounter.version``."""
        return f"estimate-{BYTES_PER_TOKEN}"

    async def segments(self, model: str, texts: list[str]) -> list[int]:
        """See ``SegmentCounter.segments``."""
        return [-(-len(text.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN) for text in texts]


class FileCounter(SegmentCounter):
    """A ``tokenizer.json`` on this machine; needs the package ``tokenizers``. Counts in a thread."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._version = ""
        self._tokenizer: Any = None

    async def start(self) -> None:
        """Read the file. Raises ``StartError``."""
        try:
            from tokenizers import Tokenizer
        except ImportError:
            raise StartError(
                "tokenizer: type file needs the package tokenizers: pip install 'pixiu-py[tokenizers]'"
            ) from None
        try:
            content = await asyncio.to_thread(Path(self._path).read_bytes)
            self._tokenizer = Tokenizer.from_buffer(content)
        except OSError as error:
            raise StartError(f"tokenizer: {self._path} cannot be read: {error.strerror}") from None
        except Exception as error:  # noqa: BLE001 - the library raises Exception itself for a file it does not understand
            raise StartError(f"tokenizer: {self._path} is no tokenizer.json: {error}") from None
        self._version = f"file-{sha256(content).hexdigest()[:16]}"

    async def version(self, model: str) -> str:
        """See ``TokenCounter.version``: a digest of the file."""
        return self._version

    async def segments(self, model: str, texts: list[str]) -> list[int]:
        """See ``SegmentCounter.segments``."""
        return await asyncio.to_thread(self._count, texts)

    def _count(self, texts: list[str]) -> list[int]:
        encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [len(encoding) for encoding in encodings]
