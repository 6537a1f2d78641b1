"""LMCache's controller (the in-process mode): which instance holds how much of a prompt, and what it may be told to do.

Shapes as LMCache 0.3.6 to 0.5.6 speak them. What to know about its answers:

- It counts in chunks of 256 tokens, whatever the engines use; shorter prompts are never found.
- A chunk is credited to the instance that registered first among its holders. An instance that is not named may hold the
  prompt all the same: absence proves nothing.
- An operation that fails in a worker is never answered, and repeating it makes nothing better: it needs a time limit and
  one try. ``num_tokens`` 0 means that nothing was done.
- There is no ``/evict``; ``/clear`` empties a whole location of an instance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pixiu_py.upstream.client import CallFailed, Client, base_at

#: Tokens of a chunk; the controller has no option for it.
CHUNK = 256


@dataclass(frozen=True, slots=True)
class Held:
    """What one instance holds of a prompt."""

    #: Tokens from the beginning that it is credited with.
    tokens: int
    #: Where in the instance, in LMCache's words (``LocalCPUBackend``).
    location: str = ""


class Controller:
    """One controller. Every call raises ``CallFailed``; ``timeout`` is in seconds."""

    def __init__(self, client: Client, base: str) -> None:
        self._client = client
        self._service = base_at(base)

    async def lookup(self, tokens: Sequence[int], timeout: float) -> dict[str, Held]:
        """Instance → what it holds of these tokens. Less than a chunk is not asked for."""
        if len(tokens) < CHUNK:
            return {}
        return holdings(await self._client.ask(self._service, "/lookup", {"tokens": list(tokens)}, timeout))

    async def pin(self, tokens: Sequence[int], instance: str, location: str, timeout: float) -> int:
        """Keep these tokens from being evicted; returns how many are pinned."""
        document = {"instance_id": instance, "location": location, "tokens": list(tokens)}
        return await self._operate("/pin", document, timeout)

    async def compress(self, tokens: Sequence[int], instance: str, location: str, method: str, timeout: float) -> int:
        """Compress these tokens; returns how many were. Only the method ``cachegen`` does anything."""
        document = {"instance_id": instance, "location": location, "method": method, "tokens": list(tokens)}
        return await self._operate("/compress", document, timeout)

    async def clear(self, instance: str, location: str, timeout: float) -> int:
        """Empty a whole location of an instance, but for what is pinned; returns how many tokens went."""
        return await self._operate("/clear", {"instance_id": instance, "location": location}, timeout)

    async def _operate(self, path: str, document: dict[str, Any], timeout: float) -> int:
        return count(await self._client.ask(self._service, path, document, timeout, again=False))


def holdings(answer: Any) -> dict[str, Held]:
    """What an answer of ``/lookup`` says. An instance's value is an array of two, or the object that Pixiu reads.

    Raises ``CallFailed`` for anything else.
    """
    layout = answer.get("layout_info") if isinstance(answer, dict) else None
    if not isinstance(layout, dict):
        raise CallFailed("answer", "a lookup without layout_info")
    return {instance: _held(value) for instance, value in layout.items()}


def _held(value: Any) -> Held:
    if isinstance(value, dict):
        value = [value.get("0"), value.get("1")]
    if isinstance(value, list) and len(value) == 2:
        location, tokens = value
        if isinstance(location, str) and _is_count(tokens):
            return Held(tokens, location)
    raise CallFailed("answer", "a lookup whose layout_info is neither [location, tokens] nor an object of these")


def count(answer: Any) -> int:
    """How many tokens an operation was about. Raises ``CallFailed`` when the answer does not tell."""
    number = answer.get("num_tokens") if isinstance(answer, dict) else None
    if not _is_count(number):
        raise CallFailed("answer", "an operation without num_tokens")
    return int(number)  # type: ignore[arg-type]


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
